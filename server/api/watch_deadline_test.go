package api_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// deadlines is a response that notes when a deadline is set or lifted, and when something is sent.
type deadlines struct {
	*httptest.ResponseRecorder
	calls []string
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		d.calls = append(d.calls, "lift")
	} else {
		d.calls = append(d.calls, "set")
	}
	return nil
}

func (d *deadlines) FlushError() error {
	d.calls = append(d.calls, "flush")
	return nil
}

// In HTTP/2 a deadline ends the stream when it passes, whether anything waits to be written or not: a watch must not
// leave one behind while it is quiet.
func TestAQuietWatchHasNoDeadline(t *testing.T) {
	c := newCluster(t)
	c.must("POST", configMaps, configMap("a", "1"), 201)
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	// Two versions, sent one after the other: the deadline of the first must be gone before the second is begun.
	c.must("PUT", configMaps+"/a", configMap("a", "2"), 200)
	c.handler().ServeHTTP(w, httptest.NewRequest("GET", configMaps+"?watch=1&resourceVersion=0&timeoutSeconds=1", nil))
	sent := 0
	for i, call := range w.calls {
		if call == "flush" {
			sent++
			if i+1 == len(w.calls) || w.calls[i+1] != "lift" {
				t.Fatalf("a deadline is left after something was sent: %v", w.calls)
			}
		}
	}
	if lifted := strings.Count(strings.Join(w.calls, " "), "lift"); sent == 0 || lifted <= sent {
		t.Fatalf("lifted %d times for %d times that something was sent, and the end: %v", lifted, sent, w.calls)
	}
}
