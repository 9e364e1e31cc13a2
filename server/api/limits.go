package api

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Limits bound what clients can make a server hold in memory at once. Who would exceed one gets 429 and Retry-After.
// One user gets at most half of each, so that none keeps the others out; nobody is exempt, because there is no traffic
// that the cluster needs to live (an idle one writes nothing, and a node is a user of its own). What another server has
// forwarded was counted there.
type Limits struct {
	// Reads and Writes are the requests under way, watches and logs apart; 0 stands for 4096 and 2048.
	Reads, Writes int64
	// BodyBytes are the bytes of the bodies of all of them; 0 stands for 256 MiB.
	BodyBytes int64
}

const (
	defaultReads     = 4096
	defaultWrites    = 2048
	defaultBodyBytes = 256 << 20
	// maxStreams bounds the watches and logs that one user has open on one server: enough for any client that behaves,
	// and too few to take the server's memory.
	maxStreams = 4096
)

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		limit *int64
		value int64
	}{{&l.Reads, defaultReads}, {&l.Writes, defaultWrites}, {&l.BodyBytes, defaultBodyBytes}} {
		if *f.limit <= 0 {
			*f.limit = f.value
		}
	}
	return l
}

// bounds are the quotas of one server.
type bounds struct {
	reads, writes, bodies, streams *quota
}

func newBounds(l Limits) bounds {
	return bounds{halves(l.Reads), halves(l.Writes), halves(l.BodyBytes), newQuota(math.MaxInt64, maxStreams)}
}

// quota counts what users hold of something.
type quota struct {
	all, each int64

	mu   sync.Mutex
	held int64            // guarded by mu
	by   map[string]int64 // guarded by mu; nobody at 0
}

func newQuota(all, each int64) *quota { return &quota{all: all, each: each, by: map[string]int64{}} }

// halves makes a quota of which one user gets half.
func halves(all int64) *quota { return newQuota(all, max(1, all/2)) }

// take counts n more for user, and reports false if that would be too many.
func (q *quota) take(user string, n int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held+n > q.all || q.by[user]+n > q.each {
		return false
	}
	q.held += n
	q.by[user] += n
	return true
}

func (q *quota) give(user string, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held -= n
	if q.by[user] -= n; q.by[user] <= 0 {
		delete(q.by, user)
	}
}

func errBusy(what string) error { return apierrors.NewTooManyRequests(what, retrySeconds) }

// within serves a request while it counts as one of q's.
func (s *Server) within(q *quota, w http.ResponseWriter, r *http.Request, user string, what string, serve func()) {
	if !q.take(user, 1) {
		s.out.fail(w, r, errBusy("too many "+what+" are under way, of this user or of all: try again later"))
		return
	}
	defer q.give(user, 1)
	serve()
}

// bodyStep is how many bytes of a body are counted at a time: not those that a client only promises to send.
const bodyStep = 64 << 10

// readBody takes the whole body of a write. Its bytes count as user's until release is called.
func (q *quota) readBody(r *http.Request, user string) (body []byte, release func(), err error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, nil, errMediaType(acceptedTypes + " (not compressed)")
	}
	var into bytes.Buffer
	counted := int64(0)
	release = func() { q.give(user, counted) }
	for {
		if !q.take(user, bodyStep) {
			release()
			return nil, nil, errBusy("the bodies of the requests under way, of this user or of all, take too much memory: try again later")
		}
		counted += bodyStep
		_, err := io.CopyN(&into, r.Body, bodyStep)
		switch {
		case errors.Is(err, io.EOF):
			spare := counted - int64(into.Len())
			q.give(user, spare)
			counted -= spare
			return into.Bytes(), release, nil
		case err != nil:
			release()
			return nil, nil, err
		}
	}
}
