package streams_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/agent/shim/crilog"
	"github.com/holt-project/holt/agent/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// container is one container with a log, and a server in front of it.
type container struct {
	t    *testing.T
	dir  string
	done chan struct{}
	log  *crilog.Log
	url  string
}

func (c *container) ContainerLog(namespace, pod, name string, previous bool) (string, <-chan struct{}, error) {
	if pod != "web" {
		return "", nil, apierrors.NewBadRequest("no such pod here")
	}
	file := "1.log"
	if previous {
		file = "0.log"
	}
	return filepath.Join(namespace+"_web_uid", name, file), c.done, nil
}

func newContainer(t *testing.T, maxSize int64) *container {
	t.Helper()
	c := &container{t: t, dir: t.TempDir(), done: make(chan struct{})}
	var err error
	if c.log, err = crilog.Open(filepath.Join(c.dir, "default_web_uid", "main", "1.log"), maxSize); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.log.Close(); err != nil {
			t.Error(err)
		}
	})
	handler := streams.Handler(streams.Config{LogDir: c.dir, Allow: func(r *http.Request) bool {
		return r.Header.Get("X-Stranger") == ""
	}}, c, slog.New(slog.DiscardHandler))
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *container) write(text string) { c.log.Copy(strings.NewReader(text), crilog.Stdout) }

func (c *container) get(ctx context.Context, query string) *http.Response {
	c.t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/logs/default/web/main?"+query, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		response.Body.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return response
}

// text is the whole answer.
func (c *container) text(query string) string {
	c.t.Helper()
	response := c.get(c.t.Context(), query)
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %s %s (%v)", query, response.Status, body, err)
	}
	return string(body)
}

func TestALogIsReadAsAskedFor(t *testing.T) {
	t.Parallel()
	c := newContainer(t, 0)
	long := strings.Repeat("x", 3*crilog.MaxLine+5)
	c.write("one\ntwo\n" + long + "\nlast without end")
	all := "one\ntwo\n" + long + "\nlast without end\n"
	future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for query, want := range map[string]string{
		"":                         all,
		"follow=false":             all,
		"tailLines=1":              "last without end\n",
		"tailLines=2":              long + "\nlast without end\n",
		"tailLines=0":              "",
		"tailLines=99":             all,
		"limitBytes=5":             "one\nt",
		"sinceSeconds=3600":        all,
		"sinceTime=" + future:      "",
		"tailLines=1&limitBytes=4": "last",
	} {
		if got := c.text(query); got != want {
			t.Errorf("%q: got %d bytes %.60q, want %d bytes %.60q", query, len(got), got, len(want), want)
		}
	}
	stamped := strings.Split(c.text("timestamps=true&tailLines=1"), " ")
	if _, err := time.Parse(time.RFC3339Nano, stamped[0]); err != nil || stamped[1] != "last" {
		t.Errorf("with a timestamp: %q (%v)", stamped, err)
	}
}

func TestALogIsFollowedToTheContainersEnd(t *testing.T) {
	t.Parallel()
	c := newContainer(t, 200) // is rotated again and again
	c.write("before\n")
	lines := bufio.NewScanner(c.get(t.Context(), "follow=true").Body)
	next := func() string {
		t.Helper()
		if !lines.Scan() {
			t.Fatal("the answer has ended", lines.Err())
		}
		return lines.Text()
	}
	if got := next(); got != "before" {
		t.Errorf("got %q", got)
	}
	for i := range 50 {
		want := fmt.Sprint("line ", i)
		c.write(want + "\n")
		if got := next(); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	c.write("the end\n")
	close(c.done)
	if got := next(); got != "the end" {
		t.Errorf("got %q", got)
	}
	if lines.Scan() {
		t.Errorf("more: %q", lines.Text())
	}
}

func TestAFollowerThatGoesLeavesNothing(t *testing.T) {
	t.Parallel()
	c := newContainer(t, 0)
	c.write("one\n")
	ctx, cancel := context.WithCancel(t.Context())
	response := c.get(ctx, "follow=true&tailLines=1")
	if line, err := bufio.NewReader(response.Body).ReadString('\n'); err != nil || line != "one\n" {
		t.Errorf("got %q (%v)", line, err)
	}
	cancel() // TestMain finds goroutines that stay
}

func TestARotatedLogIsReadWhole(t *testing.T) {
	t.Parallel()
	c := newContainer(t, 300)
	for i := range 10 {
		c.write(fmt.Sprint("line ", i, "\n"))
	}
	if got := c.text("tailLines=9"); got != "line 1\nline 2\nline 3\nline 4\nline 5\nline 6\nline 7\nline 8\nline 9\n" {
		t.Errorf("got %q", got)
	}
}

func TestALogLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	c := newContainer(t, 0)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("2026-01-01T00:00:00Z stdout F secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(c.dir, "default_web_uid", "main", "0.log")); err != nil {
		t.Fatal(err)
	}
	response := c.get(t.Context(), "previous=true")
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusInternalServerError || strings.Contains(string(body), "secret\n") {
		t.Errorf("%s: %s (%v)", response.Status, body, err)
	}
	if err := os.Rename(filepath.Join(c.dir, "default_web_uid"), filepath.Join(c.dir, "aside")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("aside", filepath.Join(c.dir, "default_web_uid")); err != nil {
		t.Fatal(err)
	}
	if response := c.get(t.Context(), ""); response.StatusCode == http.StatusOK {
		t.Error("a folder that is a link was followed")
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	t.Parallel()
	c := newContainer(t, 0)
	for path, want := range map[string]int{
		"/logs/default/web/main?tailLines=-1":                                  http.StatusBadRequest,
		"/logs/default/web/main?tailLines=many":                                http.StatusBadRequest,
		"/logs/default/web/main?follow=perhaps":                                http.StatusBadRequest,
		"/logs/default/web/main?limitBytes=0":                                  http.StatusBadRequest,
		"/logs/default/web/main?sinceTime=noon":                                http.StatusBadRequest,
		"/logs/default/web/main?sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z": http.StatusBadRequest,
		"/logs/default/other/main":                                             http.StatusBadRequest,
		"/logs/default/web/none":                                               http.StatusNotFound,
		"/logs/default/web/main/more":                                          http.StatusNotFound,
		"/logs/default/..%2F..%2Fetc/main":                                     http.StatusBadRequest,
		"/":                                                                    http.StatusNotFound,
	} {
		response, err := http.Get(c.url + path)
		if err != nil {
			t.Fatal(err)
		}
		var status metav1.Status
		err = json.NewDecoder(response.Body).Decode(&status)
		response.Body.Close()
		if err != nil || response.StatusCode != want || int(status.Code) != want || status.Kind != "Status" || status.Message == "" {
			t.Errorf("%s: %s %+v (%v), want %d", path, response.Status, status, err, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestOnlyServersMayAsk(t *testing.T) {
	t.Parallel()
	c := newContainer(t, 0)
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/logs/default/web/main": http.StatusForbidden, "/other": http.StatusForbidden} {
		request, err := http.NewRequest(http.MethodGet, c.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Stranger", "yes")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, response.Status, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
