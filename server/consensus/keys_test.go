package consensus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/consensus"
)

// rings are the key rings of a cluster's servers, as their files would keep them.
type rings struct {
	t    testing.TB
	held map[string]*seal.Holder
}

// sealed tunes a cluster whose servers begin with the same ring of one key.
func sealed(t testing.TB, tune func(*consensus.Config)) (*rings, func(*consensus.Config)) {
	r := &rings{t, map[string]*seal.Holder{}}
	first := r.must(seal.NewRing(time.Now()))
	return r, func(cfg *consensus.Config) {
		if r.held[cfg.Name] == nil {
			r.held[cfg.Name] = seal.NewHolder(first)
		}
		cfg.Keys = r.held[cfg.Name]
		if tune != nil {
			tune(cfg)
		}
	}
}

func (r *rings) must(ring seal.Ring, err error) seal.Ring {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
	return ring
}

// rotate gives every server the same new primary key, and returns the ID of the old one.
func (r *rings) rotate() (old string) {
	r.t.Helper()
	var next seal.Ring
	for _, h := range r.held {
		old, next = h.Ring().Primary(), r.must(h.Ring().Add(time.Now()))
		break
	}
	for _, h := range r.held {
		h.Swap(next)
	}
	return old
}

// reseal seals a server's folder anew, and expects that it needs no other key afterwards.
func (r *rings) reseal(s *server) {
	r.t.Helper()
	if err := s.Reseal(context.Background()); err != nil {
		r.t.Fatalf("%s: %v", s.name, err)
	}
	r.needs(s, r.held[s.name].Ring().Primary())
}

func (r *rings) needs(s *server, want ...string) {
	r.t.Helper()
	slices.Sort(want)
	if got, err := s.KeysNeeded(); err != nil || !slices.Equal(got, want) {
		r.t.Errorf("%s needs %v, %v; want %v", s.name, got, err, want)
	}
}

// drop takes a key out of a server's ring.
func (r *rings) drop(s *server, id string) {
	r.t.Helper()
	r.held[s.name].Swap(r.must(r.held[s.name].Ring().Drop(id)))
}

// plain lists the files below dir that hold text.
func plain(t *testing.T, dir, text string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
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

func TestNothingPlainOnDisk(t *testing.T) {
	t.Parallel()
	_, tune := sealed(t, nil)
	for what, tune := range map[string]func(*consensus.Config){"sealed": tune, "plain": nil} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 1, tune)
			s := c.servers[0]
			c.write(create(t, "before", "correct-horse"))
			if err := s.Snapshot(c.ctx()); err != nil {
				t.Fatal(err)
			}
			c.write(create(t, "after", "battery-staple"))
			c.stop(s)
			for _, text := range []string{"correct-horse", "battery-staple"} {
				if found := plain(t, s.dir, text); (len(found) > 0) != (tune == nil) {
					t.Errorf("%s is in %v", text, found)
				}
			}
			c.start(s)
			c.leader()
			if value(s.store, "before") != "correct-horse" || value(s.store, "after") != "battery-staple" {
				t.Error("what was sealed is lost")
			}
		})
	}
}

// A follower gets the leader's snapshot, whose size both must agree on, and seals it with its own ring.
func TestSnapshotGoesToAnotherRing(t *testing.T) {
	t.Parallel()
	r, tune := sealed(t, func(cfg *consensus.Config) { cfg.SnapshotTrailing = 1 })
	c := newCluster(t, 2, tune)
	leader, s := c.leader(), c.followers()[0]
	c.stop(s)
	if err := leader.Remove(c.ctx(), s.name); err != nil {
		t.Fatal(err)
	}
	c.write(create(t, "large", strings.Repeat("0123456789", 20_000)))
	c.write(create(t, "small", "x"))
	if err := leader.Snapshot(c.ctx()); err != nil {
		t.Fatal(err)
	}
	s.dir, r.held[s.name] = t.TempDir(), seal.NewHolder(r.must(seal.NewRing(time.Now())))
	c.start(s)
	if err := leader.Join(c.ctx(), s.name, s.address); err != nil {
		t.Fatal(err)
	}
	c.sameDigest()
	r.needs(s, r.held[s.name].Ring().Primary())
	c.stop(s)
	c.start(s)
	c.sameDigest()
}

func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	r, tune := sealed(t, nil)
	c := newCluster(t, 3, tune)
	leader := c.leader()
	for i := range 300 {
		c.write(create(t, fmt.Sprint("k", i), "v"))
		if i%100 == 50 {
			if err := leader.Snapshot(c.ctx()); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop, written := make(chan struct{}), 0
	var load sync.WaitGroup
	load.Go(func() {
		for ; ; written++ {
			select {
			case <-stop:
				return
			default:
				c.write(create(t, fmt.Sprint("load", written), "v"))
			}
		}
	})
	for range 3 {
		old := r.rotate()
		for _, s := range c.servers {
			r.reseal(s)
			r.drop(s, old)
		}
	}
	close(stop)
	load.Wait()
	digest := c.sameDigest()
	for _, s := range c.servers {
		c.stop(s)
	}
	for _, s := range c.servers {
		c.start(s)
	}
	if again := c.sameDigest(); again != digest {
		t.Errorf("the digest after the restart is %s, before it was %s; %d writes", again, digest, written)
	}
}

// What is needed is told while it is, also after a restart, and no longer.
func TestKeysNeeded(t *testing.T) {
	t.Parallel()
	r, tune := sealed(t, func(cfg *consensus.Config) { cfg.SnapshotTrailing = 1 })
	c := newCluster(t, 1, tune)
	s := c.servers[0]
	c.write(create(t, "a", "1"))
	first := r.rotate()
	second := r.held[s.name].Ring().Primary()
	r.needs(s, first, second)
	c.write(create(t, "b", "1"))
	c.write(create(t, "c", "1"))
	if err := s.Snapshot(c.ctx()); err != nil {
		t.Fatal(err)
	}
	r.needs(s, second) // the log was cut, and the snapshot is of the new key
	third := func() string { r.rotate(); return r.held[s.name].Ring().Primary() }()
	c.stop(s)
	c.start(s)
	c.leader()
	r.needs(s, second, third)
	r.reseal(s)
	for range 2 {
		c.stop(s)
		c.start(s)
		c.leader()
		r.needs(s, third)
	}
}

func TestMissingKey(t *testing.T) {
	t.Parallel()
	r, tune := sealed(t, func(cfg *consensus.Config) { cfg.SnapshotTrailing = 1 })
	for _, what := range []string{"log", "snapshot"} {
		c := newCluster(t, 1, tune)
		s := c.servers[0]
		c.write(create(t, "a", "1"))
		old := r.rotate()
		if what == "snapshot" {
			old = r.held[s.name].Ring().Primary()
			c.write(create(t, "b", "1"))
			if err := s.Snapshot(c.ctx()); err != nil {
				t.Fatal(err)
			}
			r.rotate()
			c.write(create(t, "c", "1"), create(t, "d", "1"))
		}
		c.stop(s)
		if what == "snapshot" {
			forgetFirst(t, s.dir)
		}
		whole := r.held[s.name].Ring()
		r.drop(s, old)
		err := c.tryStart(s)
		if !errors.Is(err, consensus.ErrMissingKey) || errors.Is(err, consensus.ErrDamaged) || !strings.Contains(fmt.Sprint(err), old) {
			t.Errorf("%s: got %v, want ErrMissingKey with %s", what, err, old)
		}
		r.held[s.name].Swap(whole)
		c.start(s)
		c.leader()
		if value(s.store, "a") != "1" {
			t.Errorf("%s: with the key, the state is not there", what)
		}
	}
}

// forgetFirst takes the first entry out of a log: the one that raft keeps of those in the snapshot.
func forgetFirst(t *testing.T, dir string) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "raft.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		first, _ := tx.Bucket([]byte("logs")).Cursor().First()
		return tx.Bucket([]byte("logs")).Delete(first)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// Entries cannot be exchanged, nor snapshots given another place.
func TestMovedSeals(t *testing.T) {
	t.Parallel()
	for what, damage := range map[string]func(t *testing.T, dir string){
		"entry 6": func(t *testing.T, dir string) {
			db, err := bbolt.Open(filepath.Join(dir, "raft.db"), 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = db.Update(func(tx *bbolt.Tx) error { // two entries of the same term and length
				logs := tx.Bucket([]byte("logs"))
				a, b := []byte{0, 0, 0, 0, 0, 0, 0, 6}, []byte{0, 0, 0, 0, 0, 0, 0, 7}
				first, second := bytes.Clone(logs.Get(a)), bytes.Clone(logs.Get(b))
				first[bytes.Index(first, []byte("Index"))+len("Index")]++ // each says that it is the other
				second[bytes.Index(second, []byte("Index"))+len("Index")]--
				return errors.Join(logs.Put(b, first), logs.Put(a, second))
			})
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
		},
		"snapshot": func(t *testing.T, dir string) {
			metas, err := filepath.Glob(filepath.Join(dir, "snapshots", "*", "meta.json"))
			if err != nil || len(metas) != 1 {
				t.Fatal(metas, err)
			}
			edit(t, metas[0], func(b []byte) []byte { return bytes.Replace(b, []byte(`"127.0.0.1:`), []byte(`"127.0.0.9:`), 1) })
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			_, tune := sealed(t, nil)
			c := newCluster(t, 1, tune)
			s := c.servers[0]
			for i := range 9 {
				c.write(create(t, fmt.Sprint("k", i), "v"))
			}
			if err := s.Snapshot(c.ctx()); err != nil {
				t.Fatal(err)
			}
			c.stop(s)
			damage(t, s.dir)
			err := c.tryStart(s)
			if !errors.Is(err, consensus.ErrDamaged) || !strings.Contains(fmt.Sprint(err), what) {
				t.Errorf("got %v, want ErrDamaged and the %s", err, what)
			}
		})
	}
}
