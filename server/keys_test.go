package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/internal/client"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server"
	"github.com/holt-project/holt/server/keyring"
)

const password = "correct-horse-battery-staple"

// three starts a cluster of three servers.
func three(t *testing.T) (all []server.Config, stops []func()) {
	t.Helper()
	for i := range 3 {
		c := config(t, fmt.Sprintf("s%d", i+1))
		if i > 0 {
			c.Token, c.Join = readToken(t, all[0], "server-token"), []string{fmt.Sprintf("https://%s:%d", all[0].Bind, all[0].Port)}
		}
		stops = append(stops, run(t, c))
		all = append(all, c)
	}
	return all, stops
}

func report(t *testing.T, cl *client.Client) keyring.Report {
	t.Helper()
	var r keyring.Report
	if err := cl.Do(t.Context(), client.Request{Method: http.MethodGet, Path: keyring.PathKeys}, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func rotate(t *testing.T, cl *client.Client) string {
	t.Helper()
	var r keyring.Rotation
	if err := cl.Do(t.Context(), client.Request{Method: http.MethodPost, Path: keyring.PathKeys}, &r); err != nil {
		t.Fatal(err)
	}
	return r.Primary
}

func drop(ctx context.Context, cl *client.Client, id string) error {
	return cl.Do(ctx, client.Request{Method: http.MethodDelete, Path: keyring.PathKeys + "/" + id}, nil)
}

// settled waits until the servers use only this key.
func settled(t *testing.T, cl *client.Client, servers int, id string) {
	t.Helper()
	eventually(t, func() bool {
		only := 0
		for _, s := range report(t, cl).Servers {
			if s.Error == "" && s.Primary == id && len(s.Needed) == 1 {
				only++
			}
		}
		return only == servers
	})
}

// eventually waits for a condition that must come; the deadline says nothing of how fast.
func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	deadline, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.Done():
			t.Fatal("the condition does not come")
		}
	}
}

func ringOf(t *testing.T, c server.Config) (ring seal.Ring) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.DataDir, keyring.File))
	if err == nil {
		err = json.Unmarshal(data, &ring)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// holders lists the files of a server that hold text.
func holders(t *testing.T, c server.Config, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(c.DataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestKeysRotate(t *testing.T) {
	all, stops := three(t)
	cl, ctx := api(t, all[2]), t.Context() // a follower passes on what the leader has to do
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s"}, Data: map[string][]byte{"p": []byte(password)}}
	if err := cl.Create(ctx, secrets, secret); err != nil {
		t.Fatal(err)
	}
	first := ringOf(t, all[0]).Primary()
	settled(t, cl, 3, first)
	if err := drop(ctx, cl, first); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "primary") {
		t.Errorf("the primary key: %v", err)
	}
	if err := drop(ctx, cl, "0123456789abcdef"); !apierrors.IsNotFound(err) {
		t.Errorf("a stranger: %v", err)
	}

	stops[1]()
	second := rotate(t, cl)
	settled(t, cl, 2, second)
	if err := drop(ctx, cl, first); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "server s2 cannot be asked") {
		t.Errorf("while a server is down: %v", err)
	}
	stops[1] = run(t, all[1]) // with the old ring, in which its disk is sealed
	settled(t, cl, 3, second)
	if err := drop(ctx, cl, first); err != nil {
		t.Error(err)
	}
	for _, c := range all {
		eventually(t, func() bool { return !ringOf(t, c).Has(first) })
	}
	var listing corev1.Secret
	if err := cl.Get(ctx, secrets, "kube-system", "holt-keyring", &listing); err != nil {
		t.Error(err)
	}
	secretOfKey := ringOf(t, all[0]).Keys()[0].Secret
	for _, v := range listing.Data {
		if !bytes.Contains(v, []byte(second)) || bytes.Contains(v, []byte(first)) || bytes.Contains(v, secretOfKey[:]) {
			t.Errorf("the Secret holds %s", v)
		}
	}

	for _, stop := range stops {
		stop()
	}
	for _, c := range all {
		for _, text := range []string{password, string(secretOfKey[:])} {
			if found := holders(t, c, text); len(found) > 0 {
				t.Errorf("%s is in %v", text, found)
			}
		}
	}
	restart(t, all)
	var kept corev1.Secret
	if err := api(t, all[1]).Get(ctx, secrets, "default", "s", &kept); err != nil || string(kept.Data["p"]) != password {
		t.Errorf("after the restart: %q, %v", kept.Data["p"], err)
	}
}

// restart starts servers that need each other to be ready.
func restart(t *testing.T, all []server.Config) {
	t.Helper()
	ready := make(chan struct{}, len(all))
	for _, c := range all {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		c.Ready = func() { ready <- struct{}{} }
		go func() { done <- server.Run(ctx, c) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("server %s ended with: %v", c.Name, err)
			}
		})
	}
	for range all {
		<-ready
	}
}

func TestServerWithoutItsKeys(t *testing.T) {
	c := config(t, "s1")
	stop := run(t, c)
	stop()
	path := filepath.Join(c.DataDir, keyring.File)
	ring := ringOf(t, c)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the ring file: %v, %v", info, err)
	}
	other, err := seal.NewRing(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string][]string{
		"none":    {"the key ring is not there", "holt keys export"},
		"another": {"not in the key ring", ring.Primary(), path, "holt keys export"},
		"damaged": {"is not valid", path},
	} {
		switch what {
		case "none":
			err = os.Remove(path)
		case "another":
			err = write(path, other)
		case "damaged":
			err = os.WriteFile(path, []byte(`{"keys":[]}`), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		err := server.Run(t.Context(), c)
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "damaged") {
				t.Errorf("%s: %v; want %q in it", what, err, part)
			}
		}
	}
	elsewhere := c // the ring may be anywhere
	elsewhere.Keyring = filepath.Join(t.TempDir(), "ring")
	if err := write(elsewhere.Keyring, ring); err != nil {
		t.Fatal(err)
	}
	run(t, elsewhere)
}

func write(path string, ring seal.Ring) error {
	data, err := json.Marshal(ring)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// A listing that names keys which no server has, as after the restoration of an old backup, is replaced.
func TestLostKeysAreListedNoMore(t *testing.T) {
	c := config(t, "s1")
	run(t, c)
	cl, ctx := api(t, c), t.Context()
	own := ringOf(t, c).Primary()
	for _, bad := range []string{`[{"id":"0123456789abcdef","created":"2020-01-01T00:00:00Z"}]`, "nonsense", "[]"} {
		var listing corev1.Secret
		if err := cl.Get(ctx, secrets, "kube-system", "holt-keyring", &listing); err != nil {
			t.Fatal(err)
		}
		listing.Data = map[string][]byte{"keys": []byte(bad)}
		if err := cl.Update(ctx, secrets, &listing, ""); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool {
			r := report(t, cl)
			return len(r.Keys) == 1 && r.Keys[0].ID == own
		})
	}
	next := rotate(t, cl)
	settled(t, cl, 1, next)
	if err := cl.Delete(ctx, secrets, "kube-system", "holt-keyring", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { r := report(t, cl); return len(r.Keys) > 0 && r.Keys[0].ID == next })
}
