package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/holt-project/holt/server/admission"
	"github.com/holt-project/holt/server/auth"
	"github.com/holt-project/holt/server/kinds"
	"github.com/holt-project/holt/server/ownership"
	"github.com/holt-project/holt/server/storage"
)

// Leadership tells who leads the cluster.
type Leadership interface {
	// Leader returns the leader's name and the host:port of its API, both empty when there is none, and whether it
	// is this server.
	Leader() (name, address string, self bool)
}

// Authenticator finds out who makes a request. An error refuses it with 401; a request without any identity is
// auth.Anonymous or an error, as the authenticator likes.
type Authenticator interface {
	Authenticate(r *http.Request) (auth.User, error)
}

// Authorizer decides whether a request is allowed. The reason is shown to the client.
type Authorizer interface {
	Authorize(ctx context.Context, a auth.Attributes) (allowed bool, reason string)
}

// AgentDialer tells how to reach the agent of a node: its base URL and the transport that authenticates both sides.
type AgentDialer interface {
	Agent(node *corev1.Node) (*url.URL, http.RoundTripper, error)
}

// Config is what a Server is made of. Kinds, Store, Leadership, Auth and Authz are required.
type Config struct {
	Kinds *kinds.Registry
	// Store is this server's. The errors of its log tell their nature by the methods that errors.go looks for; an error
	// of Propose that has none of them counts as an unknown outcome.
	Store      *storage.Store
	Leadership Leadership
	Auth       Authenticator
	Authz      Authorizer
	// Discovery serves /api and /apis down to the group versions; OpenAPI serves /openapi/. nil answers 404.
	Discovery, OpenAPI http.Handler
	// Extra are handlers by path prefix ("/holt/v1/"). They run after authentication, and after authorization of
	// their path as a non-resource URL, and bound the bodies that they read.
	Extra map[string]http.Handler
	// Admit are the admission steps, in order. They run on the leader.
	Admit []admission.Step
	// Owners keeps managedFields; nil stands for one of the server's own.
	Owners *ownership.Tracker
	// Agents reaches the agents for pod logs; nil refuses them.
	Agents AgentDialer
	// Forward reaches other servers, with this server's certificate. nil refuses writes on a follower.
	Forward http.RoundTripper
	// Version is what /version tells; the zero value stands for DefaultVersion.
	Version version.Info
	Log     *slog.Logger

	// RequestTimeout bounds every request but watches and logs; 0 stands for 10 s.
	RequestTimeout time.Duration
	// Limits bound what clients can make this server hold in memory.
	Limits Limits
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

// Defaults and limits.
const (
	defaultRequestTimeout = 10 * time.Second
	maxRequestTimeout     = time.Minute
	// maxBody is Kubernetes' limit on the body of a request, in bytes.
	maxBody = 3 << 20
	// maxURI bounds the request line: long label selectors fit, floods do not.
	maxURI = 64 << 10
)

// DefaultVersion is the version of the Kubernetes API that Holt speaks.
var DefaultVersion = version.Info{
	Major: "1", Minor: "37", GitVersion: "v1.37.2+holt", GitTreeState: "clean", Compiler: "gc",
}

// withDefaults fills in what the zero values stand for.
func (c Config) withDefaults() Config {
	if c.RequestTimeout <= 0 {
		c.RequestTimeout = defaultRequestTimeout
	}
	c.Limits = c.Limits.withDefaults()
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Owners == nil {
		c.Owners = ownership.New()
	}
	if c.Version.GitVersion == "" {
		c.Version = DefaultVersion
	}
	return c
}
