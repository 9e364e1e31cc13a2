package api

import (
	"net/http"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// maxStreams bounds the watches and logs that one user has open on one server: enough for any client that behaves,
// and too few to take the server's memory.
const maxStreams = 4096

// streamCounts counts open streams by user.
type streamCounts struct {
	mu   sync.Mutex
	open map[string]int // guarded by mu
}

// enter counts one more stream of user, and reports false if there are too many.
func (c *streamCounts) enter(user string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[user] >= maxStreams {
		return false
	}
	c.open[user]++
	return true
}

func (c *streamCounts) leave(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[user]--; c.open[user] <= 0 {
		delete(c.open, user)
	}
}

// streaming serves a request that stays open.
func (s *Server) streaming(w http.ResponseWriter, r *request, serve func(http.ResponseWriter, *request)) {
	if !s.streams.enter(r.user.Name) {
		s.out.fail(w, r.http, apierrors.NewTooManyRequests("too many watches and logs of this user are open: close some", retrySeconds))
		return
	}
	defer s.streams.leave(r.user.Name)
	serve(w, r)
}
