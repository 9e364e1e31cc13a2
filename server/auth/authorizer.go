package auth

import (
	"context"
	"slices"
	"strings"

	"github.com/holt-project/holt/fsm"
)

// Authorizer decides by the groups of the user and the present state.
type Authorizer struct{ view func() fsm.View }

// NewAuthorizer makes an authorizer that reads the state through view.
func NewAuthorizer(view func() fsm.View) *Authorizer { return &Authorizer{view} }

// Authorize reports whether the request is allowed.
func (z *Authorizer) Authorize(_ context.Context, a Attributes) (allowed bool, reason string) {
	switch {
	case a.User.In(AdminGroup), a.User.In(ServersGroup):
		return true, ""
	case !a.ResourceRequest && public(a.Verb, a.Path):
		return true, ""
	case !a.ResourceRequest && a.User.In(authenticatedGroup) && described(a.Verb, a.Path):
		return true, ""
	}
	if node, ok := a.User.NodeName(); ok && a.ResourceRequest {
		return z.node(node, a)
	}
	return false, ""
}

// public paths are open to everybody, with or without a certificate: joining is guarded by its token.
func public(verb, path string) bool {
	if path == "/holt/v1/join" {
		return verb == "post"
	}
	if verb != "get" && verb != "head" {
		return false
	}
	switch path {
	case "/healthz", "/livez", "/readyz", "/version", "/holt/v1/ca":
		return true
	}
	return strings.HasPrefix(path, "/healthz/") || strings.HasPrefix(path, "/livez/") || strings.HasPrefix(path, "/readyz/")
}

// described paths say what the API offers.
func described(verb, path string) bool {
	if verb != "get" && verb != "head" {
		return false
	}
	return slices.Contains([]string{"/api", "/apis", "/openapi", "/version"}, path) ||
		strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/apis/") || strings.HasPrefix(path, "/openapi/")
}
