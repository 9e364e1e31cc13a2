package consensus_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/holt-project/holt/server/consensus"
)

func TestDataFolderInUse(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	second := &server{name: "s0", address: "127.0.0.1:0", dir: c.servers[0].dir}
	if err := c.tryStart(second); !errors.Is(err, consensus.ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
	c.write(create(t, "x", "the first goes on"))
}

func TestForeignDataFolder(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	s := c.servers[0]
	c.write(create(t, "x", "1"))
	c.stop(s)
	for what, tune := range map[string]func(*consensus.Config){
		"cluster": func(cfg *consensus.Config) { cfg.Cluster = "another" },
		"server":  func(cfg *consensus.Config) { cfg.Name = "another" },
	} {
		c.tune = tune
		if err := c.tryStart(s); !errors.Is(err, consensus.ErrForeign) {
			t.Errorf("folder of another %s: %v, want ErrForeign", what, err)
		}
	}
	c.tune = nil
	c.start(s)
	c.leader()
	if value(s.store, "x") != "1" {
		t.Error("the refused starts have changed the state")
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	c := &cluster{t: t, net: newNetwork()}
	for what, tune := range map[string]func(*consensus.Config){
		"name":    func(cfg *consensus.Config) { cfg.Name = "" },
		"address": func(cfg *consensus.Config) { cfg.Address = "nowhere" },
		"timing":  func(cfg *consensus.Config) { cfg.Timing.Lease = 1000 * cfg.Timing.Lease; cfg.Timing.Heartbeat = 1 },
	} {
		s := &server{name: "s0", address: "127.0.0.1:0", dir: t.TempDir()}
		c.servers, c.tune = []*server{s}, tune
		if err := c.tryStart(s); err == nil {
			t.Errorf("a bad %s was accepted", what)
		}
	}
}

func TestDamagedDataFolder(t *testing.T) {
	t.Parallel()
	for what, damage := range map[string]func(t *testing.T, dir string){
		"bit flip in an entry": func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "raft.db"), func(b []byte) []byte {
				i := bytes.LastIndex(b, []byte("precious"))
				if i < 0 {
					t.Fatal("the entry is not there")
				}
				for ; i >= 0; i = bytes.LastIndex(b, []byte("precious")) {
					b[i] ^= 1
				}
				return b
			})
		},
		"entry missing": func(t *testing.T, dir string) {
			db, err := bbolt.Open(filepath.Join(dir, "raft.db"), 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = db.Update(func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte("logs")).Delete([]byte{0, 0, 0, 0, 0, 0, 0, 3})
			})
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
		},
		"no log file": func(t *testing.T, dir string) { edit(t, filepath.Join(dir, "raft.db"), zeroed) },
		"identity":    func(t *testing.T, dir string) { edit(t, filepath.Join(dir, "identity.json"), zeroed) },
	} {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t, 1, nil)
			for i := range 5 {
				c.write(create(t, fmt.Sprint("k", i), "precious"))
			}
			s := c.servers[0]
			c.stop(s)
			damage(t, s.dir)
			if err := c.tryStart(s); !errors.Is(err, consensus.ErrDamaged) {
				t.Errorf("got %v, want ErrDamaged", err)
			}
		})
	}
}

func TestDamagedSnapshot(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(cfg *consensus.Config) { cfg.SnapshotTrailing = 1 })
	s := c.servers[0]
	c.write(create(t, "x", "1"))
	c.write(create(t, "y", "1"))
	if err := s.Snapshot(c.ctx()); err != nil {
		t.Fatal(err)
	}
	c.stop(s)
	states, err := filepath.Glob(filepath.Join(s.dir, "snapshots", "*", "state.bin"))
	if err != nil || len(states) != 1 {
		t.Fatalf("snapshots: %v, %v", states, err)
	}
	edit(t, states[0], func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	if err := c.tryStart(s); !errors.Is(err, consensus.ErrDamaged) {
		t.Errorf("damaged snapshot: %v, want ErrDamaged", err)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, "snapshots")); err != nil {
		t.Fatal(err)
	}
	if err := c.tryStart(s); !errors.Is(err, consensus.ErrDamaged) {
		t.Errorf("no snapshot before the log: %v, want ErrDamaged", err)
	}
}

func zeroed(b []byte) []byte { return make([]byte, len(b)) }

func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedDescription lets a snapshot say that it has an entry more than it has: that one would be skipped.
func TestDamagedDescription(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(cfg *consensus.Config) { cfg.SnapshotTrailing = 1 })
	s := c.servers[0]
	c.write(create(t, "x", "1"))
	if err := s.Snapshot(c.ctx()); err != nil {
		t.Fatal(err)
	}
	c.write(create(t, "y", "1"))
	c.stop(s)
	metas, err := filepath.Glob(filepath.Join(s.dir, "snapshots", "*", "meta.json"))
	if err != nil || len(metas) != 1 {
		t.Fatalf("snapshots: %v, %v", metas, err)
	}
	index := regexp.MustCompile(`"Index":(\d+)`)
	edit(t, metas[0], func(b []byte) []byte {
		return index.ReplaceAllFunc(b, func(found []byte) []byte {
			var n int
			if _, err := fmt.Sscanf(string(found), `"Index":%d`, &n); err != nil {
				t.Fatal(err)
			}
			return fmt.Appendf(nil, `"Index":%d`, n+1)
		})
	})
	if err := c.tryStart(s); !errors.Is(err, consensus.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}
