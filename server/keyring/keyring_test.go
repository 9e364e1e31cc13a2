package keyring_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/consensus"
	"github.com/holt-project/holt/server/keyring"
	"github.com/holt-project/holt/server/kinds"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is one server: its state, its disk, and the group that it leads.
type world struct {
	t      *testing.T
	store  *fsm.Store
	path   string
	keys   *seal.Holder
	keeper *keyring.Keeper

	mu       sync.Mutex
	index    uint64
	needed   []string // besides the primary key; Reseal empties it unless busy
	busy     bool
	resealed []string
	refuse   error // what Propose answers
	members  []consensus.Member
	leader   string
}

func newWorld(t *testing.T, transport http.RoundTripper) *world {
	t.Helper()
	w := &world{t: t, store: fsm.New(kinds.Builtin().Schema(), 0), path: filepath.Join(t.TempDir(), keyring.File),
		leader: "s1", members: []consensus.Member{{Name: "s1", Address: "192.0.2.1:6443"}}}
	ring, err := keyring.Found(w.path, seal.Ring{}, noon)
	if err != nil {
		t.Fatal(err)
	}
	w.keys = seal.NewHolder(ring)
	w.keeper = keyring.New(keyring.Config{Name: "s1", Path: w.path, Keys: w.keys, Store: w.store, Cluster: w, Disk: w,
		Encode: kinds.Builtin().ByStore("secrets").Encode, Transport: transport, Log: slog.New(slog.DiscardHandler)})
	return w
}

func (w *world) Linearize(context.Context) error { return nil }

func (w *world) Members() []consensus.Member { return slices.Clone(w.members) }

func (w *world) Leader() (name, address string, self bool) {
	return w.leader, "192.0.2.9:6443", w.leader == "s1"
}

func (w *world) Propose(_ context.Context, ops []fsm.Op) ([]fsm.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return nil, w.refuse
	}
	data, err := fsm.Command{Ops: ops}.Encode()
	if err != nil {
		return nil, err
	}
	w.index++
	return w.store.Apply(w.index, data)
}

func (w *world) KeysNeeded() ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string{w.keys.Ring().Primary()}, w.needed...), nil
}

// Reseal checks what must hold whenever something is sealed: the file has all the keys.
func (w *world) Reseal(context.Context) error {
	kept, err := keyring.Load(w.path)
	if err != nil || !kept.Equal(w.keys.Ring()) {
		w.t.Errorf("sealed with %v while the file has %v, %v", w.keys.Ring(), kept, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resealed = append(w.resealed, w.keys.Ring().Primary())
	if !w.busy {
		w.needed = nil
	}
	return nil
}

// list puts a listing into the state.
func (w *world) list(l keyring.Listing) {
	w.t.Helper()
	secret, err := l.Secret()
	if err != nil {
		w.t.Fatal(err)
	}
	secret.UID = "u"
	raw, err := kinds.Builtin().ByStore("secrets").Encode(secret)
	if err != nil {
		w.t.Fatal(err)
	}
	op := fsm.Op{Verb: fsm.Create, Resource: "secrets", Namespace: "kube-system", Name: "holt-keyring", Raw: raw}
	if _, ok := w.store.View().Get(op.Key()); ok {
		op.Verb = fsm.Update
	}
	if results, err := w.Propose(context.Background(), []fsm.Op{op}); err != nil || results[0].Err != nil {
		w.t.Fatal(err, results)
	}
}

func (w *world) listed() []string {
	return w.keeper.Report(context.Background()).Keys.IDs()
}

// run runs the keeper until the condition holds, or for ever.
func (w *world) run(until func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { w.keeper.Run(ctx) })
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !until() {
		<-tick.C
	}
	cancel()
	wg.Wait()
}

// A new key is in the file, and not in use, before it is listed; only what is neither listed nor needed goes.
func TestRotation(t *testing.T) {
	w := newWorld(t, nil)
	first := w.keys.Ring()
	w.list(keyring.ListingOf(first))
	w.refuse = consensus.ErrNoQuorum
	if _, err := w.keeper.Rotate(t.Context(), noon); !errors.Is(err, keyring.ErrUnavailable) {
		t.Errorf("without a quorum: %v", err)
	}
	resealed := func() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.resealed) }
	w.needed = []string{"another"} // so that the listing is followed to its end
	w.run(func() bool { return resealed() > 0 })
	if ring := w.keys.Ring(); ring.Primary() != first.Primary() || len(ring.Keys()) != 2 {
		t.Errorf("after a rotation that failed, which may be listed yet: %v", ring)
	}
	w.refuse, w.resealed = nil, nil
	second, err := w.keeper.Rotate(t.Context(), noon)
	if err != nil || !slices.Equal(w.listed(), []string{second, first.Primary()}) {
		t.Fatalf("listed are %v, %v", w.listed(), err)
	}
	w.needed = []string{first.Primary()}
	w.run(func() bool { return w.keys.Ring().Primary() == second && len(w.keys.Ring().Keys()) == 2 })
	if !slices.Equal(w.resealed, []string{second}) {
		t.Errorf("sealed anew with %v", w.resealed)
	}
	if err := w.keeper.Drop(t.Context(), first.Primary()); err != nil {
		t.Fatal(err)
	}
	w.needed, w.busy = []string{first.Primary()}, true // a snapshot that was begun before, say
	w.run(func() bool { return resealed() > 2 })
	if !w.keys.Ring().Has(first.Primary()) {
		t.Error("a key went that is needed")
	}
	w.busy = false
	w.run(func() bool { return len(w.keys.Ring().Keys()) == 1 })
	if kept, err := keyring.Load(w.path); err != nil || !kept.Equal(w.keys.Ring()) || kept.Primary() != second {
		t.Errorf("the file has %v, %v", kept, err)
	}
}

// peers answers for other servers.
type peers struct {
	ring seal.Ring
	use  keyring.Use

	mu    sync.Mutex
	down  bool // guarded by mu
	asked int  // guarded by mu; in vain
}

func (p *peers) tries() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func (p *peers) answer(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = !yes
}

func (p *peers) refuses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		p.asked++
	}
	return p.down
}

func (p *peers) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	var v any
	switch {
	case p.refuses():
		return nil, errors.New("connection refused")
	case r.URL.Path == keyring.PathRing:
		v = p.ring
	case r.URL.Path == "/holt/v1/status":
		v = map[string]any{"keys": p.use}
	default:
		v = keyring.Rotation{Primary: r.URL.Host + " " + r.Method}
	}
	err := json.NewEncoder(rec).Encode(v)
	return rec.Result(), err
}

func TestKeyIsFetchedFromAnotherServer(t *testing.T) {
	p := &peers{down: true}
	w := newWorld(t, p)
	w.members = append(w.members, consensus.Member{Name: "s2", Address: "192.0.2.2:6443"})
	first := w.keys.Ring()
	next, err := first.Add(noon)
	if err != nil {
		t.Fatal(err)
	}
	p.ring = next
	w.list(keyring.ListingOf(next))
	w.run(func() bool { return p.tries() > 1 })
	if len(w.listed()) != 2 || w.keys.Ring().Primary() != first.Primary() {
		t.Error("the key may be with the one that does not answer: the listing has to stay")
	}
	p.answer(true)
	w.run(func() bool { return w.keys.Ring().Equal(next) })
	p.use = keyring.Use{Primary: first.Primary(), Needed: []string{first.Primary()}}
	if err := w.keeper.Drop(t.Context(), first.Primary()); !errors.Is(err, keyring.ErrNeeded) || !strings.Contains(err.Error(), "s2") {
		t.Errorf("while another needs it: %v", err)
	}
	p.use = keyring.Use{Primary: next.Primary(), Needed: []string{next.Primary()}}
	if err := w.keeper.Drop(t.Context(), first.Primary()); err != nil {
		t.Error(err)
	}
}

func TestHandler(t *testing.T) {
	w := newWorld(t, &peers{})
	w.list(keyring.ListingOf(w.keys.Ring()))
	h := w.keeper.Handler()
	ask := func(method, path string, state *tls.ConnectionState) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		r.TLS = state
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec
	}
	own := w.keys.Ring().Primary()
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{"GET", keyring.PathKeys, 200}, {"GET", keyring.PathRing, 200}, {"PUT", keyring.PathKeys, 405},
		{"DELETE", keyring.PathKeys + "/" + own, 409}, {"DELETE", keyring.PathKeys + "/x", 404}, {"GET", keyring.PathKeys + "/x", 405},
		{"POST", keyring.PathKeys, 200},
	} {
		if rec := ask(c.method, c.path, nil); rec.Code != c.code {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, rec.Code, rec.Body, c.code)
		}
	}
	w.refuse = consensus.ErrUnknownOutcome
	if rec := ask("POST", keyring.PathKeys, nil); rec.Code != 504 {
		t.Errorf("an unknown outcome: %d", rec.Code)
	}
	w.leader = "s2"
	if rec := ask("POST", keyring.PathKeys, nil); !strings.Contains(rec.Body.String(), "192.0.2.9:6443 POST") {
		t.Errorf("not passed on to the leader: %s", rec.Body)
	}
}

func TestFoundKeepsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ring")
	if _, err := keyring.Load(path); !errors.Is(err, keyring.ErrNoFile) {
		t.Errorf("nothing is there: %v", err)
	}
	brought, err := keyring.Found(path, seal.Ring{}, noon)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := keyring.Found(path, seal.Ring{}, noon); err != nil || !again.Equal(brought) {
		t.Errorf("a ring that was brought: %v, %v", again, err)
	}
	granted, err := seal.NewRing(noon)
	if err != nil {
		t.Fatal(err)
	}
	both, err := keyring.Found(path, granted, noon)
	if err != nil || both.Primary() != granted.Primary() || !both.Has(brought.Primary()) {
		t.Errorf("with what was granted: %v, %v", both, err)
	}
}

func TestListingTellsNoSecret(t *testing.T) {
	ring, err := seal.NewRing(noon)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := keyring.ListingOf(ring).Secret()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(secret.Data["keys"]), `[{"id":"`+ring.Primary()+`","created":"2026-03-01T12:00:00Z"}]`; got != want {
		t.Errorf("it is %s, want %s", got, want)
	}
	if secret.Type == corev1.SecretTypeOpaque || secret.Namespace != "kube-system" {
		t.Errorf("the Secret is %s of %s", secret.Type, secret.Namespace)
	}
}
