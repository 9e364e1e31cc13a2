package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/auth"
)

// The headers between servers. Identity is believed only from a server's certificate (fromServer).
const (
	headerUser   = "X-Remote-User"
	headerUID    = "X-Remote-Uid"
	headerGroup  = "X-Remote-Group"
	headerExtra  = "X-Remote-Extra-"
	headerPrefix = "X-Remote-"
	// headerUndone marks an answer that is none for the client: the server that took the write in goes on. Its value
	// is one of those below.
	headerUndone = "X-Holt-Undone"

	undoneNotLeader = "not-leader" // certainly not applied by this attempt: the server does not lead
	undoneLost      = "lost"       // it may have been applied
	undoneForgotten = "forgotten"  // not applied by this attempt: its ID is too old
	undoneVoid      = "void"       // not applied by any attempt: one has spent its ID to say so, and was lost itself
)

// fromServer reports whether the TLS peer itself is a server of the cluster. A token, of whatever group, is not enough.
func fromServer(r *http.Request, u auth.User) bool {
	return r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && r.Header.Get("Authorization") == "" && u.In(auth.ServersGroup)
}

func remoteUser(h http.Header) auth.User {
	u := auth.User{Name: h.Get(headerUser), UID: h.Get(headerUID), Groups: h.Values(headerGroup)}
	for k, values := range h {
		if name, ok := strings.CutPrefix(k, headerExtra); ok {
			key, err := url.PathUnescape(strings.ToLower(name))
			if err != nil {
				continue
			}
			if u.Extra == nil {
				u.Extra = map[string][]string{}
			}
			u.Extra[key] = values
		}
	}
	return u
}

func setRemoteUser(h http.Header, u auth.User) {
	for k := range h {
		if strings.HasPrefix(k, headerPrefix) {
			h.Del(k)
		}
	}
	h.Set(headerUser, u.Name)
	if u.UID != "" {
		h.Set(headerUID, u.UID)
	}
	for _, g := range u.Groups {
		h.Add(headerGroup, g)
	}
	for k, values := range u.Extra {
		for _, v := range values {
			h.Add(headerExtra+url.PathEscape(k), v)
		}
	}
}

// forwarder has writes carried out by the leader: by the writer when that is this server.
type forwarder struct {
	leadership Leadership
	writer     *writer
	transport  http.RoundTripper // to the other servers; nil refuses
	bodies     *quota
	out        *responder
	timeout    requestTimeout
	log        *slog.Logger
}

// serve carries out a write on the leader, wherever that is, and follows it when it changes.
func (f *forwarder) serve(w http.ResponseWriter, r *request, forwarded bool) {
	body, release, err := f.body(w, r, forwarded)
	if err != nil {
		f.out.fail(w, r.http, err)
		return
	}
	defer release()
	r.body = body
	if r.attempt, err = f.first(r, forwarded); err != nil {
		f.out.fail(w, r.http, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.http.Context(), f.timeout.of(r.query))
	defer cancel()
	for b := newBackoff(); ; {
		done, err := f.try(ctx, w, r, forwarded)
		switch {
		case done:
			return
		case forwarded: // the server that took the write in looks for the leader, not this one
			w.Header().Set(headerUndone, undone(err))
			f.out.fail(w, r.http, err)
			return
		case r.attempt.never(err):
			r.attempt, err = f.begin(r), errNoLeader{}
		case r.attempt.repeated || errors.Is(err, errLost):
			r.attempt.repeated = true
			err = unknownError{err}
		}
		if errors.Is(err, fsm.ErrForgotten) || !b.wait(ctx) {
			f.out.fail(w, r.http, err)
			return
		}
	}
}

// body takes the body of a write, for which the client has as long as for the whole request.
func (f *forwarder) body(w http.ResponseWriter, r *request, forwarded bool) (body []byte, release func(), err error) {
	bodies := f.bodies
	if forwarded { // counted by the server that took it in
		bodies = newQuota(maxBody+bodyStep, maxBody+bodyStep)
	}
	control := http.NewResponseController(w)
	deadline := time.Now().Add(f.timeout.of(r.query)) // the network's clock, not the API's
	if err := control.SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, nil, err
	}
	body, release, err = bodies.readBody(r.http, r.user.Name)
	if err == nil {
		_ = control.SetReadDeadline(time.Time{}) // fails as it did above
	}
	return body, release, err
}

// first is the attempt that the server which took the write in is at, or a new one if that is this server.
func (f *forwarder) first(r *request, forwarded bool) (attempt, error) {
	if h := r.http.Header.Get(headerAttempt); forwarded && h != "" {
		return parseAttempt(h)
	}
	return f.begin(r), nil
}

func (f *forwarder) begin(r *request) attempt {
	if r.info.Verb == "deletecollection" {
		return attempt{}
	}
	return newAttempt(f.writer.store.View().Index())
}

// errLost says that an attempt got no answer: it may have been applied.
var errLost = errors.New("the leader was lost before it answered")

// undone is the mark of an answer with err, and asError what it says to the server that gets it.
func undone(err error) string {
	switch {
	case errors.Is(err, errLost):
		return undoneLost
	case errors.Is(err, fsm.ErrForgotten):
		return undoneForgotten
	case errors.Is(err, fsm.ErrVoid):
		return undoneVoid
	}
	return undoneNotLeader
}

func asError(undone string) error {
	switch undone {
	case undoneNotLeader:
		return errNoLeader{}
	case undoneForgotten:
		return fsm.ErrForgotten
	case undoneVoid:
		return fsm.ErrVoid
	}
	return errLost
}

// errNoLeader says that no server is known to lead.
type errNoLeader struct{}

func (errNoLeader) Error() string   { return "no server leads the cluster" }
func (errNoLeader) NotLeader() bool { return true }

// try makes one attempt. It reports false, and why, when there is no answer for the client yet.
func (f *forwarder) try(ctx context.Context, w http.ResponseWriter, r *request, forwarded bool) (done bool, err error) {
	_, address, self := f.leadership.Leader()
	switch {
	case self:
		r.warnings = nil
		res, err := f.writer.write(ctx, r)
		switch {
		case isNotLeader(err), errors.Is(err, fsm.ErrForgotten), errors.Is(err, fsm.ErrVoid):
			return false, err
		case isUnknown(err):
			return false, fmt.Errorf("%w: %w", errLost, err)
		case err != nil:
			f.out.fail(w, r.http, err)
		default:
			f.out.send(w, r, res)
		}
		return true, nil
	case forwarded, address == "", f.transport == nil: // what was forwarded is never passed on in a circle
		return false, errNoLeader{}
	}
	return f.forward(ctx, w, r, address)
}

// forward sends the write to the leader and passes its answer on.
func (f *forwarder) forward(ctx context.Context, w http.ResponseWriter, r *request, address string) (done bool, err error) {
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}
	ctx, cancel := context.WithCancel(httptrace.WithClientTrace(ctx, trace))
	defer cancel()
	out, err := f.forwarded(ctx, r, address)
	if err != nil {
		f.out.fail(w, r.http, err)
		return true, nil
	}
	answered := make(chan struct{})
	go f.giveUp(cancel, answered, address)
	defer sync.OnceFunc(func() { close(answered) })()
	res, err := f.transport.RoundTrip(out)
	switch {
	case err != nil && !sent.Load():
		f.log.Debug("the leader cannot be reached", "address", address, "err", err)
		return false, errNoLeader{}
	case err != nil:
		return false, fmt.Errorf("%w: %w", errLost, err)
	}
	defer res.Body.Close()
	if mark := res.Header.Get(headerUndone); mark != "" {
		return false, asError(mark)
	}
	f.relay(w, r, res)
	return true, nil
}

// leaderPoll is how often a write under way looks whether its leader still is one.
const leaderPoll = 50 * time.Millisecond

// giveUp cancels a forwarded write, until it is answered, as soon as its leader is in doubt: it is repeated then.
func (f *forwarder) giveUp(cancel context.CancelFunc, answered <-chan struct{}, address string) {
	t := time.NewTicker(leaderPoll)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-answered:
			return
		}
		if _, now, self := f.leadership.Leader(); self || now != address {
			cancel()
			return
		}
	}
}

func (f *forwarder) forwarded(ctx context.Context, r *request, address string) (*http.Request, error) {
	u := url.URL{Scheme: "https", Host: address, Path: r.http.URL.Path, RawPath: r.http.URL.RawPath, RawQuery: r.http.URL.RawQuery}
	out, err := http.NewRequestWithContext(ctx, r.http.Method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("forward to the leader: %w", err))
	}
	for _, k := range []string{"Accept", "Accept-Encoding", "Content-Type", "User-Agent"} {
		if v := r.http.Header.Values(k); len(v) > 0 {
			out.Header[k] = v
		}
	}
	setRemoteUser(out.Header, r.user)
	if r.attempt.named() {
		out.Header.Set(headerAttempt, r.attempt.header())
	}
	return out, nil
}

// relay passes the leader's answer on. The write is decided by now, so an answer that breaks off is broken off for the
// client too.
func (f *forwarder) relay(w http.ResponseWriter, r *request, res *http.Response) {
	for k, values := range res.Header {
		if k != headerAuditID && k != "Connection" && k != "Date" {
			w.Header()[k] = values
		}
	}
	w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(w, res.Body); err != nil && !errors.Is(err, context.Canceled) {
		f.log.Debug("the leader's answer broke off", "path", r.info.Path, "err", err)
		panic(http.ErrAbortHandler)
	}
}
