package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommands(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = w.Write([]byte("hello\n"))
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOME_NAME", "value")
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		args string
		code int
		out  string // part of the output
	}{
		{t.Context(), "sleep 0", 0, ""},
		{ended, "sleep", 0, ""},
		{ended, "sleep 1000", 0, ""},
		{ended, "hog 1", 0, "holding 1 MB"},
		{t.Context(), "exit 0", 0, ""},
		{t.Context(), "exit 7", 7, ""},
		{t.Context(), "exit 256", 2, ""},
		{t.Context(), "env", 0, "SOME_NAME=value\n"},
		{t.Context(), "cat " + file, 0, "content"},
		{t.Context(), "cat " + file + "x", 1, ""},
		{t.Context(), "id", 0, "uid="},
		{t.Context(), "wget " + server.URL, 0, "hello\n"},
		{t.Context(), "wget -n 2 -interval 1ms " + server.URL, 0, "hello\nhello\n"},
		{t.Context(), "wget " + server.URL + "/bad", 1, "418"},
		{t.Context(), "wget", 2, ""},
		{t.Context(), "nslookup localhost", 0, "A 127.0.0.1\n"},
		{t.Context(), "nslookup", 2, ""},
		{t.Context(), "", 2, ""},
		{t.Context(), "rm -r", 2, ""},
	} {
		var out, errOut bytes.Buffer
		if code := run(c.ctx, strings.Fields(c.args), &out, &errOut); code != c.code || !strings.Contains(out.String(), c.out) {
			t.Errorf("%q exits with %d and prints %q, %q; want %d and %q", c.args, code, &out, &errOut, c.code, c.out)
		}
	}
}
