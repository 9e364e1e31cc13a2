package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"testing"
)

// start runs the server and gives its address, what it prints, and how to end it and get run's error.
func start(t *testing.T, args ...string) (url string, lines <-chan string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r, w := io.Pipe()
	printed := make(chan string, 100)
	go func() {
		defer close(printed)
		for s := bufio.NewScanner(r); s.Scan(); {
			printed <- s.Text()
		}
	}()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, append([]string{"-listen", "127.0.0.1:0", "-drain", "0"}, args...), w)
		_ = w.Close()
	}()
	address, ok := strings.CutPrefix(<-printed, "listening on ")
	if !ok {
		t.Fatal(<-done)
	}
	return "http://" + address, printed, func() error {
		cancel()
		return <-done
	}
}

// client makes a connection for each request, so that none is idle when the server ends.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestAnswers(t *testing.T) {
	t.Setenv("POD_NAME", "web-1")
	t.Setenv("VERSION", "2")
	url, _, stop := start(t)
	const root = "pod=web-1 addr=127.0.0.1 client=127.0.0.1 version=2\n"
	for path, want := range map[string]string{"/": root, "/slow?ms=1": root, "/version": "2\n", "/healthz": "ok\n"} {
		if code, got := get(t, url+path); code != http.StatusOK || got != want {
			t.Errorf("%s answers %d %q, want %q", path, code, got, want)
		}
	}
	for path, want := range map[string]int{"/slow?ms=-1": 400, "/slow": 400, "/other": 404} {
		if code, _ := get(t, url+path); code != want {
			t.Errorf("%s answers %d, want %d", path, code, want)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestNamedByHostWithoutAPod(t *testing.T) {
	t.Setenv("POD_NAME", "")
	want, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	url, _, stop := start(t)
	if _, got := get(t, url); !strings.HasPrefix(got, "pod="+want+" ") {
		t.Errorf("answers %q, want the host name %s", got, want)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestRequestsInFlightAreFinished(t *testing.T) {
	url, lines, stop := start(t, "-log")
	sent := make(chan struct{})
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/slow?ms=300", nil)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		resp, err := client.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		result <- err
	}()
	<-sent
	// Connections are accepted in turn: once a later one is answered, the slow one is the server's.
	if code, _ := get(t, url); code != http.StatusOK {
		t.Errorf("answers %d", code)
	}
	if line := <-lines; !strings.Contains(line, "path=/ ") {
		t.Errorf("logged %q", line)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := <-result; err != nil {
		t.Errorf("a request in flight was lost: %v", err)
	}
}
