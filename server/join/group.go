package join

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/server/consensus"
)

const (
	// groupTimeout bounds a request about the members, groupRetry is the pause before the leader is looked for again.
	groupTimeout = 10 * time.Second
	groupRetry   = 100 * time.Millisecond
	// electionWait is how long a list waits for a leader to be known.
	electionWait = 2 * time.Second
)

// Observer tells how the members are.
type Observer interface {
	Members() []consensus.Member
	Observe(ctx context.Context) []consensus.Observed
	// Leader returns the leader's name and address, and whether this server leads.
	Leader() (name, address string, self bool)
}

// Changer changes who leads and who is a member. Each fails with consensus.ErrNotLeader on a server that does not lead.
type Changer interface {
	Transfer(ctx context.Context, name string) error
	Removable(ctx context.Context, name string) error
	Remove(ctx context.Context, name string) error
}

// Group answers administrators' requests about the members: GET on PathMembers, DELETE of one below it, and POST to
// transfer below it. Any server can be asked; what changes something is sent on
// to the leader.
type Group struct {
	observe Observer
	change  Changer
	// remember keeps that a member was removed on purpose.
	remember func(context.Context, consensus.Member) error
	// allow tells whether the one who asks may.
	allow func(*http.Request) bool
	// servers reaches other servers, with this server's certificate.
	servers http.RoundTripper
	log     *slog.Logger
}

// NewGroup makes a Group. remember keeps that a member was removed on purpose; allow tells whether the one who asks is an
// administrator, or a server that passes on what one has asked; servers reaches other servers with this one's certificate.
func NewGroup(o Observer, c Changer, remember func(context.Context, consensus.Member) error, allow func(*http.Request) bool,
	servers http.RoundTripper, log *slog.Logger) *Group {
	return &Group{o, c, remember, allow, servers, log}
}

// Handler serves all of it, and join at the place where servers ask to become members.
func (g *Group) Handler(join http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+enroll.PathMembers, join)
	mux.HandleFunc("GET "+enroll.PathMembers, g.list)
	mux.HandleFunc("DELETE "+enroll.PathMembers+"/{name}", func(w http.ResponseWriter, r *http.Request) {
		name, force := r.PathValue("name"), r.URL.Query().Get("force") == "true"
		g.onLeader(w, r, nil, func(ctx context.Context) (any, error) { return struct{}{}, g.remove(ctx, name, force) })
	})
	mux.HandleFunc("POST "+enroll.PathMembers+"/transfer", g.transfer)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.allow(r) {
			refuse(w, http.StatusForbidden, metav1.StatusReasonForbidden, "only an administrator may ask about the servers")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// MemberList is the answer to GET.
type MemberList struct {
	// Leader is the leader's name; empty if the asked server knows none.
	Leader  string         `json:"leader"`
	Members []MemberStatus `json:"members"`
}

// MemberStatus is one server.
type MemberStatus struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Address string `json:"address"`
	Role    string `json:"role"` // leader, voter or non-voter
	// Alive says that it answers the asked server. What follows is zero otherwise.
	Alive bool `json:"alive"`
	// LastIndex is its last entry, AppliedIndex the last that it has applied, and Lag how many more the most advanced
	// server has.
	LastIndex    uint64 `json:"lastIndex"`
	AppliedIndex uint64 `json:"appliedIndex"`
	Lag          uint64 `json:"lag"`
	// Revision and Digest are those of its state.
	Revision uint64 `json:"revision"`
	Digest   string `json:"digest"`
}

func (g *Group) list(w http.ResponseWriter, r *http.Request) {
	var l MemberList
	l.Leader = g.awaitLeader(r.Context())
	observed := g.observe.Observe(r.Context())
	var last uint64
	for _, o := range observed {
		if o.Health != nil {
			last = max(last, o.Health.Last)
		}
	}
	for _, o := range observed {
		m := MemberStatus{Name: o.Name, ID: o.ID, Address: o.Address, Role: "non-voter", Alive: o.Health != nil}
		switch {
		case o.Leader:
			m.Role = "leader"
		case o.Voter:
			m.Role = "voter"
		}
		if h := o.Health; h != nil {
			m.LastIndex, m.AppliedIndex, m.Revision, m.Digest = h.Last, h.Applied, h.Revision, h.Digest
			m.Lag = last - min(last, h.Applied)
		}
		l.Members = append(l.Members, m)
	}
	answer(w, http.StatusOK, l)
}

// awaitLeader names the leader. During an election it waits for its end, if that comes soon.
func (g *Group) awaitLeader(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, electionWait)
	defer cancel()
	for {
		if name, _, _ := g.observe.Leader(); name != "" {
			return name
		}
		select {
		case <-time.After(groupRetry):
		case <-ctx.Done():
			return ""
		}
	}
}

// TransferRequest is the body of a transfer; an empty To lets the leader choose. Transferred is its answer.
type (
	TransferRequest struct {
		To string `json:"to"`
	}
	Transferred struct {
		Leader string `json:"leader"` // empty if it is not known yet
	}
)

func (g *Group) transfer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	var req TransferRequest
	if err == nil && len(body) > 0 {
		err = json.Unmarshal(body, &req)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, `the body must be empty or {"to": "NAME"}: `+err.Error())
		return
	}
	g.onLeader(w, r, body, func(ctx context.Context) (any, error) {
		if name, _, _ := g.observe.Leader(); name == req.To {
			return Transferred{name}, nil // it leads already
		}
		if err := g.change.Transfer(ctx, req.To); err != nil {
			return nil, err
		}
		name, _, _ := g.observe.Leader()
		return Transferred{name}, nil
	})
}

// remove takes a member out on the leader. One that leads hands leadership over, and the next leader takes it out.
func (g *Group) remove(ctx context.Context, name string, force bool) error {
	err := g.change.Removable(ctx, name)
	if force && errors.Is(err, consensus.ErrQuorumAtRisk) {
		g.log.Warn("a server is removed by force", "server", name, "though", err)
		err = nil
	}
	if err != nil {
		return err
	}
	for _, m := range g.observe.Members() {
		if m.Name != name {
			continue
		}
		if leader, _, self := g.observe.Leader(); self && leader == name {
			if err := g.change.Transfer(ctx, ""); err != nil {
				return err
			}
			return consensus.ErrNotLeader
		}
		// What is remembered without being carried out is repeated by whoever asked; the other way round the server
		// could be back before anybody knew that it must not.
		if err := g.remember(ctx, m); err != nil {
			return err
		}
	}
	return g.change.Remove(ctx, name)
}

// onLeader answers with what do returns on the leader, wherever that is.
func (g *Group) onLeader(w http.ResponseWriter, r *http.Request, body []byte, do func(context.Context) (any, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), groupTimeout)
	defer cancel()
	_, forwarded := peerServer(r)
	for {
		_, address, self := g.observe.Leader()
		switch {
		case self:
			out, err := do(ctx)
			if err == nil {
				answer(w, http.StatusOK, out)
				return
			}
			if !errors.Is(err, consensus.ErrNotLeader) {
				fail(w, err)
				return
			}
		case forwarded:
			refuse(w, http.StatusMisdirectedRequest, metav1.StatusReasonServiceUnavailable, "this server does not lead")
			return
		case address != "":
			if g.forward(ctx, w, r, address, body) {
				return
			}
		}
		select {
		case <-time.After(groupRetry):
		case <-ctx.Done():
			refuse(w, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "no server leads the cluster: "+
				"start servers until a majority runs; if their disks are lost, see holt server recover --help")
			return
		}
	}
}

// forward sends the request to the leader, and passes its answer on. It is false if that one does not lead any more,
// or cannot be reached.
func (g *Group) forward(ctx context.Context, w http.ResponseWriter, r *http.Request, leader string, body []byte) bool {
	url := "https://" + leader + r.URL.EscapedPath() + "?" + r.URL.Query().Encode()
	req, err := http.NewRequestWithContext(ctx, r.Method, url, bytes.NewReader(body))
	if err != nil {
		fail(w, err)
		return true
	}
	resp, err := g.servers.RoundTrip(req)
	if err != nil {
		g.log.Debug("the leader cannot be asked", "leader", leader, "error", err)
		return false // to repeat it does no harm
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusMisdirectedRequest {
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, io.LimitReader(resp.Body, maxRequest)) // a client that went away needs no answer
	return true
}

// fail says what an error means, and what to do next.
func fail(w http.ResponseWriter, err error) {
	for _, known := range []struct {
		err    error
		code   int
		reason metav1.StatusReason
		next   string
	}{
		{consensus.ErrNotMember, http.StatusNotFound, metav1.StatusReasonNotFound, "holt member list shows them"},
		{consensus.ErrLastVoter, http.StatusConflict, metav1.StatusReasonConflict, "let another server join first"},
		{consensus.ErrQuorumAtRisk, http.StatusConflict, metav1.StatusReasonConflict,
			"start the servers that do not answer, or remove those first; --force removes it all the same"},
		{consensus.ErrNoHeir, http.StatusConflict, metav1.StatusReasonConflict, "holt member list shows which servers vote and live"},
		{consensus.ErrUnknownOutcome, http.StatusGatewayTimeout, metav1.StatusReasonTimeout, "look at holt member list before you repeat it"},
		{consensus.ErrNoQuorum, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "start servers until a majority runs"},
		{consensus.ErrClosed, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "ask another server"},
	} {
		if errors.Is(err, known.err) {
			refuse(w, known.code, known.reason, fmt.Sprintf("%v: %s", err, known.next))
			return
		}
	}
	refuse(w, http.StatusInternalServerError, metav1.StatusReasonInternalError, err.Error())
}

// refuse answers with an error as the API does.
func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	answer(w, code, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Message: message, Reason: reason, Code: int32(code)})
}
