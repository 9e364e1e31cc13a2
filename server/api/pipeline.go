package api

import (
	"context"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/holt-project/holt/server/auth"
)

// headerAuditID numbers a request, in Kubernetes' way.
const headerAuditID = "Audit-Id"

// ServeHTTP answers every request of the API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := uuid.NewString()
	w.Header().Set(headerAuditID, id)
	defer s.recovered(w, r, id)
	if len(r.URL.RequestURI()) > maxURI {
		s.out.fail(w, r, statusError(http.StatusRequestURITooLong, "RequestURITooLong", "the URL is longer than %d bytes", maxURI))
		return
	}
	if open := s.open.handler(r.URL.Path); open != nil {
		open(w, r)
		return
	}
	user, forwarded, err := s.identify(r)
	if err != nil {
		s.out.fail(w, r, err)
		return
	}
	info, err := ParseRequest(r.Method, r.URL)
	if err != nil {
		s.out.fail(w, r, badRequest("%v", err))
		return
	}
	attributes := info.attributes(user)
	if ok, reason := s.cfg.Authz.Authorize(r.Context(), attributes); !ok {
		s.out.fail(w, r, errForbidden(attributes, reason))
		return
	}
	s.log.Debug("request", "id", id, "user", user.Name, "verb", info.Verb, "path", info.Path)
	if !info.ResourceRequest {
		s.within(s.bounds.reads, w, r, user.Name, "requests", func() { s.nonResource(w, r) })
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.resource(w, &request{http: r, info: info, user: user, query: r.URL.Query()}, forwarded)
}

// recovered turns a panic into 500 and keeps the server alive.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request, id string) {
	p := recover()
	switch {
	case p == nil:
	case p == http.ErrAbortHandler: // the way to break off a stream
		panic(http.ErrAbortHandler)
	default:
		s.log.Error("request panicked", "id", id, "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
		s.out.fail(w, r, statusError(http.StatusInternalServerError, "InternalError",
			"this request caused an error on the server; its log has the details under %s", id))
	}
}

// nonResource serves discovery, OpenAPI and what else is mounted.
func (s *Server) nonResource(w http.ResponseWriter, r *http.Request) {
	p := r.URL.Path
	extra := s.extra(p)
	switch {
	case extra != nil:
		extra.ServeHTTP(w, r)
	case s.cfg.Discovery != nil && (under(p, "/api") || under(p, "/apis")):
		s.cfg.Discovery.ServeHTTP(w, r)
	case s.cfg.OpenAPI != nil && under(p, "/openapi"):
		s.cfg.OpenAPI.ServeHTTP(w, r)
	default:
		s.out.fail(w, r, errNoRoute())
	}
}

// extra returns the handler with the longest prefix of path, or nil.
func (s *Server) extra(path string) http.Handler {
	longest := ""
	for prefix := range s.cfg.Extra {
		if strings.HasPrefix(path, prefix) && len(prefix) > len(longest) {
			longest = prefix
		}
	}
	return s.cfg.Extra[longest]
}

func under(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

// resource finds the kind and subresource of a request and serves it.
func (s *Server) resource(w http.ResponseWriter, r *request, forwarded bool) {
	if err := s.locate(r); err != nil {
		s.out.fail(w, r.http, err)
		return
	}
	user := r.user.Name
	switch {
	case r.sub != nil && r.sub.Connect:
		s.within(s.bounds.streams, w, r.http, user, "watches and logs", func() { s.logs.serve(w, r) })
	case r.info.Verb == "watch":
		s.within(s.bounds.streams, w, r.http, user, "watches and logs", func() { s.watches.serve(w, r) })
	case r.info.write() && forwarded:
		s.forwarder.serve(w, r, true)
	case r.info.write():
		s.within(s.bounds.writes, w, r.http, user, "writes", func() { s.forwarder.serve(w, r, false) })
	default:
		s.within(s.bounds.reads, w, r.http, user, "reads", func() { s.read(w, r) })
	}
}

// read serves a get or a list.
func (s *Server) read(w http.ResponseWriter, r *request) {
	ctx, cancel := context.WithTimeout(r.http.Context(), s.timeout.of(r.query))
	defer cancel()
	handle := s.reader.get
	if r.info.Verb == "list" {
		handle = s.reader.list
	}
	res, err := handle(ctx, r)
	if err != nil {
		s.out.fail(w, r.http, err)
		return
	}
	s.out.send(w, r, res)
}

// locate checks that the URL stands for something, and that the verb makes sense there.
func (s *Server) locate(r *request) error {
	i := r.info
	r.kind = s.cfg.Kinds.ByResource(i.gvr())
	if r.kind == nil || i.extra || i.Verb == "proxy" {
		return errNoRoute()
	}
	named := i.Name != "" && !i.collectionVerb()
	self := r.kind.Resource == "namespaces" && r.kind.GVK.Group == ""
	switch {
	case !r.kind.Namespaced && !self && i.Namespace != "", r.kind.Namespaced && i.Namespace == "" && named:
		return errNoRoute()
	case i.Verb == "":
		return errMethod(r.resource(), strings.ToLower(r.http.Method))
	}
	if i.Subresource != "" {
		sub, ok := r.kind.Subresources[i.Subresource]
		if !ok {
			return errNoRoute()
		}
		r.sub = &sub
		if !subVerb(r, named) {
			return errMethod(r.resource(), i.Verb)
		}
		return nil
	}
	ok := map[string]bool{
		"get": named, "update": named, "patch": named, "delete": named,
		"create": !named && (!r.kind.Namespaced || i.Namespace != ""),
		"list":   true, "watch": true, "deletecollection": !r.kind.Namespaced || i.Namespace != "",
	}
	if !ok[i.Verb] {
		return errMethod(r.resource(), i.Verb)
	}
	return nil
}

func subVerb(r *request, named bool) bool {
	switch {
	case !named:
		return false
	case r.sub.Connect:
		return true
	}
	switch r.info.Verb {
	case "get":
		return r.sub.Get != nil
	case "update":
		return r.sub.Update != nil
	case "patch": // needs something to change
		return r.sub.Get != nil && r.sub.Update != nil
	case "create":
		return r.sub.Create != nil
	}
	return false
}

// identify finds out on whose behalf the request is made, and whether another server has forwarded it.
func (s *Server) identify(r *http.Request) (user auth.User, forwarded bool, err error) {
	user, err = s.cfg.Auth.Authenticate(r)
	if err != nil {
		s.log.Debug("authentication failed", "path", r.URL.Path, "err", err)
		return user, false, apierrors.NewUnauthorized("Unauthorized")
	}
	if r.Header.Get("Impersonate-User") != "" || r.Header.Get("Impersonate-Group") != "" || r.Header.Get("Impersonate-Uid") != "" {
		return user, false, statusError(http.StatusForbidden, "Forbidden",
			"impersonation is not supported: make the request as the user, without the Impersonate headers")
	}
	if r.Header.Get(headerUser) == "" || !fromServer(r, user) {
		return user, false, nil
	}
	return remoteUser(r.Header), true, nil
}
