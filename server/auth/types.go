package auth

import "github.com/holt-project/holt/internal/pki"

// User is who made a request, as the authenticator found out. It is a value that is not changed afterwards.
type User struct {
	Name   string
	UID    string
	Groups []string
	// Extra is what the authenticator knows besides, by key.
	Extra map[string][]string
}

// In reports whether the user is a member of group.
func (u User) In(group string) bool {
	for _, g := range u.Groups {
		if g == group {
			return true
		}
	}
	return false
}

// The groups and names that the API itself knows.
const (
	// ServersGroup holds the cluster's servers. Only they may say on whose behalf a forwarded request is made.
	ServersGroup = pki.ServersGroup
	// Anonymous is the user of a request that carries no identity.
	Anonymous = "system:anonymous"
)

// Attributes are what an authorization decision may depend on, as Kubernetes' RequestInfo names them.
type Attributes struct {
	User User
	// Verb is the API verb ("list", "deletecollection") or, for a path that is no resource, the lower-case method.
	Verb        string
	Namespace   string
	Group       string
	Version     string
	Resource    string
	Subresource string
	Name        string
	// Fields is the field selector of a list or watch, as the client wrote it.
	Fields string
	// Path is the request's path; decisive only when ResourceRequest is false.
	Path            string
	ResourceRequest bool
}
