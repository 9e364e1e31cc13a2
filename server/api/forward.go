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

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/server/auth"
)

// The headers between servers. Identity is believed only from a server's certificate (fromServer).
const (
	headerUser   = "X-Remote-User"
	headerUID    = "X-Remote-Uid"
	headerGroup  = "X-Remote-Group"
	headerExtra  = "X-Remote-Extra-"
	headerPrefix = "X-Remote-"
	// headerNotLeader marks an answer of a server that did not lead, and so certainly did not apply the write.
	headerNotLeader = "X-Holt-Not-Leader"
	// headerCreateUID is the UID of the object that a forwarded create makes. An attempt that finds the object there
	// with this UID knows that an earlier one was applied, so a create may be repeated.
	headerCreateUID = "X-Holt-Create-Uid"
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
	out        *responder
	timeout    requestTimeout
	log        *slog.Logger
}

// serve carries out a write on the leader, wherever that is, and follows it when it changes.
func (f *forwarder) serve(w http.ResponseWriter, r *request, forwarded bool) {
	var err error
	if r.body, err = readBody(r.http); err != nil {
		f.out.fail(w, r.http, err)
		return
	}
	r.createUID = types.UID(uuid.NewString())
	if uid := r.http.Header.Get(headerCreateUID); forwarded && uid != "" {
		r.createUID = types.UID(uid)
	}
	ctx, cancel := context.WithTimeout(r.http.Context(), f.timeout.of(r.query))
	defer cancel()
	lost := false
	for b := newBackoff(); ; {
		done, err := f.try(ctx, w, r, forwarded)
		if done {
			return
		}
		if lost = lost || errors.Is(err, errLost); lost {
			err = unknownError{errLost}
		}
		if forwarded { // the server that forwarded it looks for the leader, not this one
			w.Header().Set(headerNotLeader, "1")
			f.out.fail(w, r.http, err)
			return
		}
		if !b.wait(ctx) {
			f.out.fail(w, r.http, err)
			return
		}
	}
}

// errLost says that an attempt at a repeatable write got no answer: it may have been applied.
var errLost = errors.New("the leader was lost before it answered")

// errNoLeader says that no server is known to lead.
type errNoLeader struct{}

func (errNoLeader) Error() string   { return "no server leads the cluster" }
func (errNoLeader) NotLeader() bool { return true }

// try makes one attempt. It reports false, and why, when the write was certainly not applied for want of a leader.
func (f *forwarder) try(ctx context.Context, w http.ResponseWriter, r *request, forwarded bool) (done bool, err error) {
	_, address, self := f.leadership.Leader()
	switch {
	case self:
		r.warnings = nil
		res, err := f.writer.write(ctx, r)
		if isNotLeader(err) {
			return false, err
		}
		if err != nil {
			f.out.fail(w, r.http, err)
		} else {
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
	go f.giveUp(cancel, answered, r, address)
	defer sync.OnceFunc(func() { close(answered) })()
	res, err := f.transport.RoundTrip(out)
	switch {
	case err != nil && !sent.Load():
		f.log.Debug("the leader cannot be reached", "address", address, "err", err)
		return false, errNoLeader{}
	case err != nil && r.repeatable():
		return false, errLost
	case err != nil:
		f.out.fail(w, r.http, unknownError{fmt.Errorf("the connection to the leader broke: %w", err)})
		return true, nil
	}
	defer res.Body.Close()
	if res.Header.Get(headerNotLeader) != "" {
		return false, errNoLeader{}
	}
	f.relay(w, r, res)
	return true, nil
}

// repeatable reports whether a write that may have been applied can be sent again: a dry run changes nothing, and a
// create recognises its own object.
func (r *request) repeatable() bool {
	return r.query.Get("dryRun") != "" || (r.info.Verb == "create" && r.sub == nil)
}

// leaderPoll is how often a write under way looks whether its leader still is one.
const leaderPoll = 50 * time.Millisecond

// giveUp cancels a forwarded write that no answer can be expected for, until it is answered: when another server leads,
// or, if it can be repeated, as soon as the leader is in doubt.
func (f *forwarder) giveUp(cancel context.CancelFunc, answered <-chan struct{}, r *request, address string) {
	t := time.NewTicker(leaderPoll)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-answered:
			return
		}
		if _, now, self := f.leadership.Leader(); self || (now != address && (now != "" || r.repeatable())) {
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
	out.Header.Set(headerCreateUID, string(r.createUID))
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
