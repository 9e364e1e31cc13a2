package join

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/server/auth"
	"github.com/holt-project/holt/server/consensus"
)

// Membership changes the Raft group.
type Membership interface {
	Join(ctx context.Context, name, address string) error
	// Leader returns the leader's address, and whether this server leads.
	Leader() (name, address string, self bool)
}

// Member is a server that asks to be a member of the Raft group.
type Member struct {
	Name string `json:"name"`
	// ID is the name with the incarnation of its disk; empty is nobody that was ever removed.
	ID      string `json:"id,omitempty"`
	Address string `json:"address"` // host:port
}

// Redirect is the answer of a server that does not lead.
type Redirect struct {
	Leader string `json:"leader"` // host:port; empty if there is none
}

// Members returns the handler by which servers become members. A server can add nobody but itself. removed says why
// the server of an ID must stay out, or nothing.
func Members(m Membership, removed func(ctx context.Context, id string) (reason string, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req Member
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&req); err != nil {
			answer(w, http.StatusBadRequest, enroll.Refusal{Error: err.Error()})
			return
		}
		if !isServer(r, req.Name) {
			answer(w, http.StatusForbidden, enroll.Refusal{Error: "a server can only add itself"})
			return
		}
		_, address, self := m.Leader()
		if !self {
			answer(w, http.StatusMisdirectedRequest, Redirect{address})
			return
		}
		reason, err := removed(r.Context(), req.ID)
		if reason != "" {
			answer(w, http.StatusForbidden, enroll.Refusal{Error: reason})
			return
		}
		if err == nil {
			err = m.Join(r.Context(), req.Name, req.Address)
		}
		switch {
		case err == nil:
			answer(w, http.StatusOK, struct{}{})
		case errors.Is(err, consensus.ErrLeftBehind):
			answer(w, http.StatusForbidden, enroll.Refusal{Error: "the cluster was recovered from another server, and this one's data is " +
				"of before: empty its data folder to let it join anew"})
		default:
			answer(w, http.StatusServiceUnavailable, enroll.Refusal{Error: err.Error()})
		}
	}
}

// isServer reports whether the peer has the certificate of the server of that name.
func isServer(r *http.Request, name string) bool {
	peer, ok := peerServer(r)
	return ok && peer == auth.ServerPrefix+name
}

// peerServer returns the peer's user name if it has the certificate of a server.
func peerServer(r *http.Request) (user string, ok bool) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return "", false
	}
	peer := auth.FromCertificate(r.TLS.VerifiedChains[0][0])
	return peer.Name, peer.In(auth.ServersGroup)
}

// Status returns the handler that tells how this server is.
func Status[T any](status func() T) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, status()) }
}
