package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
)

// Identity is a certificate, its key and the authority that peers must have: all that a TLS connection needs.
type Identity struct {
	Pair
	AuthorityPEM []byte
}

// ServerTLS accepts TLS 1.3 connections. A client certificate is verified if there is one; who has none is
// anonymous, and the caller decides what that may do.
func (id Identity) ServerTLS() (*tls.Config, error) {
	c, err := id.config()
	if err != nil {
		return nil, err
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	return c, nil
}

// ClientTLS dials servers of the cluster and shows them the certificate. A peer that is not a server is refused, even
// if the authority vouches for its address: agents have certificates of the same authority.
func (id Identity) ClientTLS() (*tls.Config, error) {
	c, err := id.config()
	if err != nil {
		return nil, err
	}
	c.VerifyConnection = OnlyServers
	return c, nil
}

// PeerTLS dials any node of the cluster and shows it the certificate.
func (id Identity) PeerTLS() (*tls.Config, error) { return id.config() }

// OnlyServers is a tls.Config's VerifyConnection that refuses peers other than servers. It adds to the verification of
// the chain and replaces none of it.
func OnlyServers(c tls.ConnectionState) error {
	if len(c.PeerCertificates) == 0 || !slices.Contains(c.PeerCertificates[0].Subject.Organization, ServersGroup) {
		return errors.New("the peer is no server of the cluster")
	}
	return nil
}

func (id Identity) config() (*tls.Config, error) {
	cert, err := tls.X509KeyPair(id.CertPEM, id.KeyPEM)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(id.AuthorityPEM) {
		return nil, errors.New("the authority's certificate is not PEM")
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert},
		RootCAs:      pool,
		ClientCAs:    pool,
	}, nil
}
