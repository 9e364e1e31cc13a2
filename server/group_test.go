package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/holt-project/holt/internal/client"
	"github.com/holt-project/holt/server"
	"github.com/holt-project/holt/server/join"
)

// patience bounds waits that must end; no test says how fast.
const patience = time.Minute

// joining is the configuration of a server that joins the cluster of first.
func joining(t *testing.T, first server.Config, name string) server.Config {
	t.Helper()
	c := config(t, name)
	c.Token, c.Join = readToken(t, first, "server-token"), []string{fmt.Sprintf("https://%s:%d", first.Bind, first.Port)}
	return c
}

// start starts a server that may end by itself, and waits until it is ready or has ended.
func start(t *testing.T, c server.Config) (ended <-chan error) {
	t.Helper()
	ready, done := make(chan struct{}), make(chan error, 1)
	c.Ready = func() { close(ready) }
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		done <- server.Run(ctx, c)
	}()
	t.Cleanup(func() {
		cancel()
		for range done { //nolint:revive // until it has ended
		}
	})
	select {
	case <-ready:
	case err := <-done:
		again := make(chan error, 1)
		again <- err
		return again
	}
	return done
}

// endsWith checks that a server ends with an error that holds the text.
func endsWith(t *testing.T, ended <-chan error, text string) {
	t.Helper()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("the server ended with: %v, want %q", err, text)
		}
	case <-time.After(patience):
		t.Fatalf("the server has not ended with %q", text)
	}
}

func members(t *testing.T, c *client.Client) map[string]join.MemberStatus {
	t.Helper()
	var l join.MemberList
	if err := c.Do(t.Context(), client.Request{Method: http.MethodGet, Path: "/holt/v1/members"}, &l); err != nil {
		t.Fatal(err)
	}
	byName := map[string]join.MemberStatus{}
	for _, m := range l.Members {
		byName[m.Name] = m
	}
	return byName
}

func TestServersComeAndGo(t *testing.T) {
	first := config(t, "s1")
	run(t, first)
	second, third := joining(t, first, "s2"), joining(t, first, "s3")
	run(t, second)
	gone := start(t, third)
	at := api(t, second) // a follower can be asked all of it
	all := members(t, at)
	for name, role := range map[string]string{"s1": "leader", "s2": "voter", "s3": "voter"} {
		if m := all[name]; m.Role != role || !m.Alive || m.AppliedIndex == 0 || m.Digest == "" {
			t.Errorf("%s: %+v", name, m)
		}
	}
	checkOnlyAdministrators(t, first)

	transfer := func(to string) error {
		return at.Do(t.Context(), client.Request{Method: http.MethodPost, Path: "/holt/v1/members/transfer", Body: join.TransferRequest{To: to}}, nil)
	}
	remove := func(name string) error {
		return at.Do(t.Context(), client.Request{Method: http.MethodDelete, Path: "/holt/v1/members/" + name}, nil)
	}
	if err := transfer("s3"); err != nil || members(t, at)["s3"].Role != "leader" {
		t.Fatalf("transfer: %v; %+v", err, members(t, at))
	}
	if err := transfer("nobody"); !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), "holt member list") {
		t.Errorf("transfer to nobody: %v", err)
	}
	if err := remove("nobody"); !apierrors.IsNotFound(err) {
		t.Errorf("remove nobody: %v", err)
	}
	if err := remove("s3"); err != nil { // it leads
		t.Fatal(err)
	}
	if all := members(t, at); len(all) != 2 {
		t.Errorf("members after the removal: %+v", all)
	}
	endsWith(t, gone, "the server s3 was removed from the cluster")
	endsWith(t, start(t, third), "empty its data folder")
	third.DataDir = filepath.Join(t.TempDir(), "anew")
	run(t, third)
	if m := members(t, at)["s3"]; m.Role != "voter" || !m.Alive {
		t.Errorf("after it has joined anew: %+v", m)
	}
}

func checkOnlyAdministrators(t *testing.T, c server.Config) {
	t.Helper()
	anybody := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer anybody.CloseIdleConnections()
	for _, r := range [][2]string{{"GET", ""}, {"DELETE", "/s1"}, {"POST", "/transfer"}} {
		req, err := http.NewRequestWithContext(t.Context(), r[0], fmt.Sprintf("https://%s:%d/holt/v1/members%s", c.Bind, c.Port, r[1]), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := anybody.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s %s by anybody: %s", r[0], r[1], resp.Status)
		}
	}
}

func TestLastServerStays(t *testing.T) {
	c := config(t, "s1")
	run(t, c)
	err := api(t, c).Do(t.Context(), client.Request{Method: http.MethodDelete, Path: "/holt/v1/members/s1", Query: "force=true"}, nil)
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "let another server join first") {
		t.Errorf("remove the last server: %v", err)
	}
	err = api(t, c).Do(t.Context(), client.Request{Method: http.MethodPost, Path: "/holt/v1/members/transfer"}, nil)
	if !apierrors.IsConflict(err) {
		t.Errorf("transfer without another server: %v", err)
	}
}

func TestRecover(t *testing.T) {
	first := config(t, "s1")
	stops := []func(){run(t, first)}
	second, third := joining(t, first, "s2"), joining(t, first, "s3")
	stops = append(stops, run(t, second), run(t, third))
	if err := api(t, first).Create(t.Context(), configMaps, note("kept")); err != nil {
		t.Fatal(err)
	}
	if err := api(t, third).Get(t.Context(), configMaps, "default", "kept", &corev1.ConfigMap{}); err != nil { // it has it now
		t.Fatal(err)
	}
	agree := func(s server.Survivor) error { return nil }
	if err := server.Recover(t.Context(), third, agree, agree); err == nil || !strings.Contains(err.Error(), "in use by another server") {
		t.Errorf("while it runs: %v", err)
	}
	for _, stop := range stops {
		stop()
	}
	elsewhere := third
	elsewhere.DataDir = t.TempDir()
	if err := server.Recover(t.Context(), elsewhere, agree, agree); err == nil || !strings.Contains(err.Error(), "not the data folder of a server") {
		t.Errorf("an empty folder: %v", err)
	}
	if left, err := os.ReadDir(elsewhere.DataDir); err != nil || len(left) > 0 {
		t.Errorf("the empty folder has %v now, %v", left, err)
	}
	refused := errors.New("no")
	if err := server.Recover(t.Context(), third, func(server.Survivor) error { return refused }, agree); !errors.Is(err, refused) {
		t.Errorf("without consent: %v", err)
	}
	var told server.Survivor
	if err := server.Recover(t.Context(), third, func(s server.Survivor) error { told = s; return nil }, agree); err != nil {
		t.Fatal(err)
	}
	if told.Name != "s3" || len(told.Members) != 3 || told.Index == 0 || told.Term == 0 {
		t.Errorf("the survivor: %+v", told)
	}

	run(t, third)
	if err := api(t, third).Get(t.Context(), configMaps, "default", "kept", &corev1.ConfigMap{}); err != nil {
		t.Error(err)
	}
	old := second
	old.Join = []string{fmt.Sprintf("https://%s:%d", third.Bind, third.Port)}
	endsWith(t, start(t, old), "the cluster was recovered from another server")
	old.DataDir = filepath.Join(t.TempDir(), "anew")
	run(t, old)
	if m := members(t, api(t, third)); len(m) != 2 || m["s2"].Role != "voter" {
		t.Errorf("members after the recovery: %+v", m)
	}
}

func TestStateOfAnotherClusterIsRefused(t *testing.T) {
	one, other := config(t, "s1"), config(t, "s1")
	run(t, one)()
	run(t, other)()
	if err := os.RemoveAll(filepath.Join(one.DataDir, "raft")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(other.DataDir, "raft"), filepath.Join(one.DataDir, "raft")); err != nil {
		t.Fatal(err)
	}
	err := server.Run(t.Context(), one)
	if err == nil || !strings.Contains(err.Error(), "belongs to another cluster or server") || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("with another cluster's state: %v", err)
	}
}
