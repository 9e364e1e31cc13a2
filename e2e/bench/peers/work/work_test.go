package work_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holt-project/holt/e2e/bench/peers/work"
)

// fake serves one collection: what is created goes to all watches.
type fake struct {
	mu      sync.Mutex
	watches map[chan string]struct{}
	// answer replaces the events if it is set.
	answer string
	// requests are all that were sent, as "METHOD path type body"; guarded by mu.
	requests []string
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	f.requests = append(f.requests, strings.TrimSpace(fmt.Sprintln(r.Proto, r.Method, r.URL.Path, r.Header.Get("Content-Type"))))
	f.mu.Unlock()
	switch {
	case strings.HasSuffix(r.URL.Path, "/missing"):
		http.Error(w, "there is none", http.StatusNotFound)
	case r.URL.Query().Has("watch"):
		f.watch(w, r)
	case r.Method == http.MethodPost:
		f.mu.Lock()
		defer f.mu.Unlock()
		for events := range f.watches {
			events <- `{"type":"ADDED","object":` + string(body) + "}\n"
		}
		w.WriteHeader(http.StatusCreated)
	default:
		fmt.Fprint(w, `{"metadata":{"resourceVersion":"7"}}`)
	}
}

func (f *fake) watch(w http.ResponseWriter, r *http.Request) {
	events := make(chan string, 1000)
	f.mu.Lock()
	f.watches[events] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watches, events)
	}()
	fmt.Fprint(w, f.answer)
	w.(http.Flusher).Flush()
	if f.answer != "" {
		return
	}
	for {
		select {
		case e := <-events:
			fmt.Fprint(w, e)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func serve(t *testing.T, f *fake, clients int) work.Load {
	t.Helper()
	f.watches = map[chan string]struct{}{}
	s := httptest.NewUnstartedServer(f)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	trust := s.Client().Transport.(*http.Transport).TLSClientConfig
	l := work.Load{Window: 20 * time.Millisecond, CPU: func() (time.Duration, error) { return 0, nil }}
	for range clients {
		c, err := work.NewClient(s.URL, &tls.Config{RootCAs: trust.RootCAs, MinVersion: tls.VersionTLS13})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		l.Clients = append(l.Clients, c)
	}
	return l
}

var objects = work.InNamespace("n", "configmaps", "x-")

func TestRequestsAreWhatServersExpect(t *testing.T) {
	f := &fake{}
	c := serve(t, f, 1).Clients[0]
	for _, r := range []work.Request{
		objects.CreateConfigMap(1), objects.UpdateConfigMap(1, 2), objects.PatchConfigMap(1, 3), objects.Get(1),
		objects.Delete(1), objects.List(work.Protobuf), objects.CreatePod(4), work.CreateNamespace("n"),
	} {
		if _, err := c.Do(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	const one = "/api/v1/namespaces/n/configmaps"
	want := []string{
		"HTTP/2.0 POST " + one + " application/json", "HTTP/2.0 PUT " + one + "/x-00000001 application/json",
		"HTTP/2.0 PATCH " + one + "/x-00000001 application/merge-patch+json", "HTTP/2.0 GET " + one + "/x-00000001",
		"HTTP/2.0 DELETE " + one + "/x-00000001", "HTTP/2.0 GET " + one, "HTTP/2.0 POST " + one + " application/json",
		"HTTP/2.0 POST /api/v1/namespaces application/json",
	}
	if got := strings.Join(f.requests, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestRefusalsAreErrors(t *testing.T) {
	c := serve(t, &fake{}, 1).Clients[0]
	_, err := c.Do(t.Context(), work.Request{Method: http.MethodGet, Path: "/missing"})
	if err == nil || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), "there is none") {
		t.Errorf("got %v", err)
	}
}

func TestEachNumberIsWorkedOnOnce(t *testing.T) {
	l := work.Load{Clients: make([]*work.Client, 8), Window: time.Minute, CPU: func() (time.Duration, error) { return 0, nil }}
	var done [1000]atomic.Int32
	rate, begun, err := l.Run(t.Context(), int64(len(done)), func(_ context.Context, _ *work.Client, n int64) error {
		done[n].Add(1)
		return nil
	})
	if err != nil || begun != int64(len(done)) || rate.Done > begun {
		t.Errorf("begun %d, done %d, error %v", begun, rate.Done, err)
	}
	for n := range done {
		if times := done[n].Load(); times != 1 {
			t.Errorf("%d: %d times", n, times)
		}
	}
}

func TestAFailureEndsTheWork(t *testing.T) {
	l := work.Load{Clients: make([]*work.Client, 4), Window: time.Hour, CPU: func() (time.Duration, error) { return 0, nil }}
	broken := errors.New("broken")
	_, _, err := l.Run(t.Context(), math.MaxInt64, func(ctx context.Context, _ *work.Client, n int64) error {
		if n == 50 {
			return broken
		}
		return ctx.Err()
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestListCountsBytes(t *testing.T) {
	got, err := serve(t, &fake{}, 1).List(t.Context(), objects.List(work.JSON))
	if err != nil || got.Size != int64(len(`{"metadata":{"resourceVersion":"7"}}`)) || got.Median <= 0 {
		t.Errorf("got %+v, error %v", got, err)
	}
}

func TestEveryChangeIsDeliveredToEveryWatch(t *testing.T) {
	d, err := serve(t, &fake{}, 4).Deliver(t.Context(), objects, 10, 500)
	if err != nil || d.P99 <= 0 { // what was delivered in a window so short is left to chance
		t.Errorf("got %+v, error %v", d, err)
	}
}

func TestAWatchThatEndsIsAnError(t *testing.T) {
	for _, answer := range []string{
		`{"type":"ERROR","object":{"message":"too old"}}` + "\n",
		`{"type":"ADDED","object":{}}` + "\n",
		`{"type":"ADDED","object":{"metadata":{"name":"x-1y"}}}` + "\n",
		`{"type":"ADDED","object":{"metadata":{"name":"else"}}}` + "\n", // and then it ends
	} {
		if _, err := serve(t, &fake{answer: answer}, 2).Deliver(t.Context(), objects, 3, 10); err == nil {
			t.Errorf("%s is accepted", answer)
		}
	}
}
