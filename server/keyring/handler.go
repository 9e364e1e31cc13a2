package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/server/auth"
	"github.com/holt-project/holt/server/consensus"
)

// The paths of the key ring on every server. Administrators and servers may use them; the API has made sure of that.
const (
	// PathKeys answers GET with a Report and POST, which rotates, with a Rotation. DELETE of PathKeys/ID drops a key.
	PathKeys = "/holt/v1/keys"
	// PathRing answers GET with the server's ring, secrets included.
	PathRing = PathKeys + "/ring"
)

// changeTimeout bounds a rotation and a drop.
const changeTimeout = 20 * time.Second

// Rotation is the answer to a rotation.
type Rotation struct {
	// Primary is the ID of the new key.
	Primary string `json:"primary"`
}

// Handler returns the handler of PathKeys and what is below it. A server that does not lead asks the leader for changes.
func (k *Keeper) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+PathKeys, func(w http.ResponseWriter, r *http.Request) {
		_ = k.Cluster.Linearize(r.Context()) // without a quorum, what this server knows is worth telling
		answer(w, http.StatusOK, k.Report(r.Context()))
	})
	mux.HandleFunc("GET "+PathRing, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, k.Keys.Ring())
	})
	mux.HandleFunc("POST "+PathKeys, k.onLeader(func(ctx context.Context, _ *http.Request) (any, error) {
		id, err := k.Rotate(ctx, time.Now())
		return Rotation{id}, err
	}))
	mux.HandleFunc("DELETE "+PathKeys+"/{id}", k.onLeader(func(ctx context.Context, r *http.Request) (any, error) {
		return struct{}{}, k.Drop(ctx, r.PathValue("id"))
	}))
	return mux
}

// onLeader does a change on the leader. What another server has sent here is not sent on, so nothing goes in a circle.
func (k *Keeper) onLeader(do func(context.Context, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), changeTimeout)
		defer cancel()
		if _, address, self := k.Cluster.Leader(); !self && address != "" && !fromServer(r) {
			k.relay(ctx, w, r, address)
			return
		}
		out, err := do(ctx, r)
		if err != nil {
			fail(w, err)
			return
		}
		answer(w, http.StatusOK, out)
	}
}

// relay has the leader at address answer the request. Requests have no body.
func (k *Keeper) relay(ctx context.Context, w http.ResponseWriter, r *http.Request, address string) {
	req, err := http.NewRequestWithContext(ctx, r.Method, "https://"+address+r.URL.Path, nil)
	if err != nil {
		fail(w, err)
		return
	}
	resp, err := k.Transport.RoundTrip(req)
	if err != nil {
		fail(w, errors.Join(consensus.ErrUnknownOutcome, err))
		return
	}
	defer resp.Body.Close()
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, io.LimitReader(resp.Body, maxAnswer)) // a client that went away needs no answer
}

func fromServer(r *http.Request) bool {
	return r.TLS != nil && len(r.TLS.VerifiedChains) > 0 &&
		auth.FromCertificate(r.TLS.VerifiedChains[0][0]).In(auth.ServersGroup)
}

// fail answers with what went wrong, as the API does.
func fail(w http.ResponseWriter, err error) {
	code, reason := http.StatusInternalServerError, metav1.StatusReasonInternalError
	switch {
	case errors.Is(err, consensus.ErrUnknownOutcome):
		code, reason = http.StatusGatewayTimeout, metav1.StatusReasonTimeout
	case errors.Is(err, ErrNeeded):
		code, reason = http.StatusConflict, metav1.StatusReasonConflict
	case errors.Is(err, ErrUnknown):
		code, reason = http.StatusNotFound, metav1.StatusReasonNotFound
	case errors.Is(err, ErrUnavailable):
		code, reason = http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable
	}
	answer(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Message: err.Error(), Reason: reason, Code: int32(code),
	})
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // a client that went away needs no answer
}
