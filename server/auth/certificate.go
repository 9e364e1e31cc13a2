package auth

import (
	"crypto/x509"
	"net/http"
	"strings"
)

// The identities that the cluster's CA signs.
const (
	// AdminGroup may do everything.
	AdminGroup = "system:masters"
	// NodesGroup holds the agents, whose user names are NodePrefix and the node's name.
	NodesGroup = "system:nodes"
	NodePrefix = "system:node:"
	// ServerPrefix begins the user names of servers.
	ServerPrefix = "system:holt:server:"

	authenticatedGroup   = "system:authenticated"
	unauthenticatedGroup = "system:unauthenticated"
)

// Certificates authenticates by the client certificate, which TLS has verified.
type Certificates struct{}

// Authenticate returns the certificate's user, or the anonymous one if there is no certificate.
func (Certificates) Authenticate(r *http.Request) (User, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return User{Name: Anonymous, Groups: []string{unauthenticatedGroup}}, nil
	}
	return FromCertificate(r.TLS.VerifiedChains[0][0]), nil
}

// FromCertificate is the user that a verified certificate stands for.
func FromCertificate(cert *x509.Certificate) User {
	groups := append([]string{authenticatedGroup}, cert.Subject.Organization...)
	return User{Name: cert.Subject.CommonName, Groups: groups}
}

// NodeName returns the name of the node whose agent the user is.
func (u User) NodeName() (string, bool) {
	name, ok := strings.CutPrefix(u.Name, NodePrefix)
	return name, ok && name != "" && u.In(NodesGroup)
}
