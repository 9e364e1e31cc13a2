package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/client"
	"github.com/holt-project/holt/internal/pki"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server"
	"github.com/holt-project/holt/server/backup"
	"github.com/holt-project/holt/server/kinds"
)

type serverStatus struct {
	Role           string
	Revision       uint64
	Digest, Leader string
	Snapshots      *backup.Status
	AppliedIndex   uint64
}

func statusOf(t *testing.T, c server.Config) (s serverStatus) {
	t.Helper()
	if err := api(t, c).Do(t.Context(), client.Request{Method: http.MethodGet, Path: "/holt/v1/status"}, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// sameState waits until all servers have the same state, and returns it.
func sameState(t *testing.T, all []server.Config) (s serverStatus) {
	t.Helper()
	eventually(t, func() bool {
		s = statusOf(t, all[0])
		for _, c := range all[1:] {
			if other := statusOf(t, c); other.Digest != s.Digest || other.Leader == "" {
				return false
			}
		}
		return true
	})
	return s
}

// leaders returns the leader first, and then the others.
func leaders(t *testing.T, all []server.Config) (ordered []server.Config) {
	t.Helper()
	for _, c := range all {
		if statusOf(t, c).Role == "leader" {
			ordered = append([]server.Config{c}, ordered...)
		} else {
			ordered = append(ordered, c)
		}
	}
	return ordered
}

// counters creates the ConfigMaps c-00000, c-00001, ... one after the other until stop is called, which returns how many
// were acknowledged.
func counters(t *testing.T, c server.Config) (stop func() int) {
	cl := api(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	n := 0
	wg.Go(func() {
		for ; ctx.Err() == nil; n++ {
			if err := cl.Create(context.WithoutCancel(ctx), configMaps, note(fmt.Sprintf("c-%05d", n))); err != nil {
				t.Error(err)
				return
			}
		}
	})
	return func() int { cancel(); wg.Wait(); return n }
}

func countersThere(t *testing.T, c server.Config) int {
	t.Helper()
	var list corev1.ConfigMapList
	if err := api(t, c).Do(t.Context(), client.Request{Method: http.MethodGet, Path: "/api/v1/namespaces/default/configmaps"}, &list); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, cm := range list.Items {
		if strings.HasPrefix(cm.Name, "c-") {
			n++
		}
	}
	return n
}

func TestSaveWhileWriting(t *testing.T) {
	all, _ := three(t)
	ordered := leaders(t, all)
	stop := counters(t, ordered[0])
	file := filepath.Join(t.TempDir(), "f")
	follower := backup.NewVisitor(api(t, ordered[1]))
	var last uint64
	for range 5 {
		h, err := follower.Save(t.Context(), file, false, true)
		if err != nil {
			t.Fatal(err)
		}
		state := opened(t, file, ringOf(t, ordered[0]))
		v := state.View()
		if v.Revision() != h.Revision || h.Revision < last || v.Digest() != h.Digest {
			t.Errorf("revision %d, said %d, after %d", v.Revision(), h.Revision, last)
		}
		last = h.Revision
		n := 0
		for o := range v.List("configmaps", "default") { // in order of their names, which is the order of the writes
			if strings.HasPrefix(o.Name, "c-") {
				if o.Name != fmt.Sprintf("c-%05d", n) {
					t.Fatalf("%s is there, and c-%05d is not", o.Name, n)
				}
				n++
			}
		}
	}
	if stop() == 0 {
		t.Error("nothing was written meanwhile")
	}
	if _, err := follower.Save(t.Context(), file, false, false); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("over a file that is there: %v", err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// opened is the state in a file.
func opened(t *testing.T, path string, ring seal.Ring) *fsm.Store {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file, err := backup.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	body, err := file.Body(ring)
	if err != nil {
		t.Fatal(err)
	}
	s := fsm.New(kinds.Builtin().Schema(), 0)
	if err := s.Restore(body); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRestore(t *testing.T) {
	all, _ := three(t)
	ordered := leaders(t, all)
	cl, ctx := api(t, ordered[2]), t.Context()
	changed, deleted := note("changed"), note("deleted")
	for _, cm := range []*corev1.ConfigMap{changed, deleted} {
		if err := cl.Create(ctx, configMaps, cm); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "f")
	visitor := backup.NewVisitor(cl)
	saved, err := visitor.Save(ctx, file, false, false)
	if err != nil {
		t.Fatal(err)
	}
	newest := changed.DeepCopy()
	newest.Data = map[string]string{"a": "changed"}
	if err := cl.Update(ctx, configMaps, newest, ""); err != nil {
		t.Fatal(err)
	}
	if err := cl.Delete(ctx, configMaps, "default", "deleted", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := cl.Create(ctx, configMaps, note("later")); err != nil {
		t.Fatal(err)
	}
	token := tokenSecret(t, all[0])
	if err := cl.Delete(ctx, secrets, "kube-system", token, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	watching, end := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var caches []*client.Cache[corev1.ConfigMap, *corev1.ConfigMap]
	for _, c := range all {
		cache := client.NewCache[corev1.ConfigMap](api(t, c), configMaps, "", func() {}, c.Log)
		wg.Go(func() { cache.Run(watching) })
		<-cache.Synced()
		caches = append(caches, cache)
	}
	before := sameState(t, all)
	lines := make(chan string, 1)
	wg.Go(func() { lines <- watched(watching, cl, before.Revision) })

	done, err := visitor.Restore(ctx, file, seal.Ring{})
	if err != nil {
		t.Fatal(err)
	}
	after := sameState(t, all)
	if done.Snapshot != saved.Revision || done.Before < before.Revision || done.After <= done.Before || after.Revision < done.After || done.Kept == 0 {
		t.Errorf("%+v, of %d; the revision was %d and is %d", done, saved.Revision, before.Revision, after.Revision)
	}
	if got := <-lines; !strings.Contains(got, `"code":410`) {
		t.Errorf("a watch across it ended with %s", got)
	}
	for i, cache := range caches {
		eventually(t, func() bool {
			c := cache.Get("default", "changed")
			return c != nil && c.Data["a"] == "b" && cache.Get("default", "deleted") != nil && cache.Get("default", "later") == nil
		})
		rv, err := strconv.ParseUint(cache.Get("default", "changed").ResourceVersion, 10, 64)
		if err != nil || rv <= done.Before {
			t.Errorf("cache %d has revision %d, which was there before: %v", i, rv, err)
		}
	}
	end()
	wg.Wait()
	for _, stale := range []*corev1.ConfigMap{changed, newest} { // what was read before, in whatever state
		stale.Data = map[string]string{"a": "stale"}
		if err := cl.Update(ctx, configMaps, stale, ""); !apierrors.IsConflict(err) {
			t.Errorf("a write at revision %s: %v", stale.ResourceVersion, err)
		}
	}
	if err := cl.Get(ctx, secrets, "kube-system", token, &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("a revoked token is back: %v", err)
	}
	if err := cl.Create(ctx, configMaps, note("later")); err != nil {
		t.Error(err)
	}
}

// watched follows the ConfigMaps from a revision on, and returns the last event.
func watched(ctx context.Context, cl *client.Client, revision uint64) string {
	body, err := cl.Stream(ctx, client.Request{Method: http.MethodGet, Path: "/api/v1/configmaps", Query: fmt.Sprintf("watch=true&resourceVersion=%d", revision)})
	if err != nil {
		return err.Error()
	}
	defer body.Close()
	last, dec := json.RawMessage{}, json.NewDecoder(body)
	for {
		var event json.RawMessage
		if err := dec.Decode(&event); err != nil {
			return string(last)
		}
		last = event
	}
}

// TestLeaderLostDuringARestore: whenever the leader goes, what is there afterwards is the old state or the new one.
func TestLeaderLostDuringARestore(t *testing.T) {
	all, stops := three(t)
	stop := counters(t, all[0])
	file := filepath.Join(t.TempDir(), "f")
	visitor := backup.NewVisitor(api(t, all[0]))
	if _, err := visitor.Save(t.Context(), file, false, false); err != nil {
		t.Fatal(err)
	}
	old := opened(t, file, ringOf(t, all[0])).View()
	saved := 0
	for o := range old.List("configmaps", "default") {
		if strings.HasPrefix(o.Name, "c-") {
			saved++
		}
	}
	eventually(t, func() bool { return countersThere(t, all[0]) > saved+20 })
	present := stop()
	ordered := leaders(t, all)
	restored := make(chan error, 1)
	go func() {
		_, err := backup.NewVisitor(api(t, ordered[1])).Restore(t.Context(), file, seal.Ring{})
		restored <- err
	}()
	for i, c := range all {
		if c.Name == ordered[0].Name {
			stops[i]()
		}
	}
	err := <-restored
	rest := ordered[1:]
	sameState(t, rest)
	var got int
	eventually(t, func() bool { // the new leader serves
		var list corev1.ConfigMapList
		return api(t, rest[0]).Do(t.Context(), client.Request{Method: http.MethodGet, Path: "/api/v1/namespaces/default/configmaps"}, &list) == nil
	})
	got = countersThere(t, rest[0])
	if got != saved && (got != present || err == nil) {
		t.Errorf("%d are there, neither the %d saved nor the %d before; the restore ended with %v", got, saved, present, err)
	}
	again := backup.NewVisitor(api(t, rest[0]))
	eventually(t, func() bool {
		_, err := again.Restore(t.Context(), file, seal.Ring{})
		return err == nil
	})
	if got := countersThere(t, rest[1]); got != saved {
		t.Errorf("after another restore %d are there, not %d", got, saved)
	}
}

func TestRestoreFromAnotherCluster(t *testing.T) {
	theirs, ours := config(t, "s1"), config(t, "s1")
	run(t, theirs)
	run(t, ours)
	if err := api(t, theirs).Create(t.Context(), configMaps, note("theirs")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "f")
	if _, err := backup.NewVisitor(api(t, theirs)).Save(t.Context(), file, false, false); err != nil {
		t.Fatal(err)
	}
	visitor := backup.NewVisitor(api(t, ours))
	if _, err := visitor.Restore(t.Context(), file, seal.Ring{}); err == nil || !strings.Contains(err.Error(), backup.ErrSealed.Error()) {
		t.Errorf("without their ring: %v", err)
	}
	if _, err := visitor.Restore(t.Context(), file, ringOf(t, ours)); !errors.Is(err, backup.ErrSealed) {
		t.Errorf("with our ring: %v", err)
	}
	if _, err := visitor.Restore(t.Context(), file, ringOf(t, theirs)); err != nil {
		t.Fatal(err)
	}
	if err := api(t, ours).Get(t.Context(), configMaps, "default", "theirs", &corev1.ConfigMap{}); err != nil {
		t.Error(err)
	}
	var cluster corev1.Secret
	if err := api(t, ours).Get(t.Context(), secrets, "kube-system", "holt-cluster", &cluster); err != nil {
		t.Fatal(err)
	}
	if id, err := pki.LoadIdentity(filepath.Join(ours.DataDir, "tls")); err != nil || string(cluster.Data["ca.crt"]) != string(id.AuthorityPEM) {
		t.Errorf("the cluster has become the other one: %v", err)
	}
}

func TestSnapshotsAreForAdministrators(t *testing.T) {
	c := config(t, "s1")
	c.SnapshotInterval, c.SnapshotKeep = time.Hour, 2
	run(t, c)
	visitor := backup.NewVisitor(api(t, c))
	eventually(t, func() bool {
		entries, err := visitor.List(t.Context())
		return err == nil && len(entries) == 1 && entries[0].Key == ringOf(t, c).Primary() && entries[0].Error == ""
	})
	eventually(t, func() bool { s := statusOf(t, c).Snapshots; return s != nil && s.Error == "" && !s.Newest.IsZero() })
	var cluster corev1.Secret
	if err := api(t, c).Get(t.Context(), secrets, "kube-system", "holt-cluster", &cluster); err != nil {
		t.Fatal(err)
	}
	authority, err := pki.LoadAuthority(cluster.Data["ca.crt"], cluster.Data["ca.key"])
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []pki.Subject{{User: "bob"}, {User: "system:node:n1", Groups: []string{"system:nodes"}}} {
		pair, err := authority.Issue(who, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		tls, err := pki.Identity{Pair: pair, AuthorityPEM: authority.CertPEM}.ClientTLS()
		if err != nil {
			t.Fatal(err)
		}
		cl, err := client.New([]string{fmt.Sprintf("https://%s:%d", c.Bind, c.Port)}, tls, "test")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		path := filepath.Join(t.TempDir(), "f")
		if _, err := backup.NewVisitor(cl).Save(t.Context(), path, true, false); !apierrors.IsForbidden(err) {
			t.Errorf("%s saves: %v", who.User, err)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s has a file: %v", who.User, err)
		}
		if err := cl.Do(t.Context(), client.Request{Method: http.MethodPost, Path: backup.PathRestore, Body: []byte("x")}, nil); !apierrors.IsForbidden(err) {
			t.Errorf("%s restores: %v", who.User, err)
		}
		if _, err := backup.NewVisitor(cl).List(t.Context()); !apierrors.IsForbidden(err) {
			t.Errorf("%s lists: %v", who.User, err)
		}
	}
}
