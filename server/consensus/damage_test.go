package consensus_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holt-project/holt/server/consensus"
)

// damageSeedsEnv says how many folders TestDamageIsNeverSilent damages.
const (
	damageSeedsEnv = "HOLT_DAMAGE_SEEDS"
	fewDamageSeeds = 150
)

// TestDamageIsNeverSilent damages copies of a server's folder at random. Either the server says at its start that the
// folder is damaged, or it has everything that was acknowledged.
func TestDamageIsNeverSilent(t *testing.T) {
	t.Parallel()
	seeds := fewDamageSeeds
	if n := os.Getenv(damageSeedsEnv); n != "" {
		var err error
		if seeds, err = strconv.Atoi(n); err != nil {
			t.Fatal(err)
		}
	}
	for what, snapshot := range map[string]bool{"log": false, "log and snapshot": true} {
		t.Run(what, func(t *testing.T) {
			files, digest := acknowledged(t, snapshot)
			outcomes := map[string]int{}
			for seed := range seeds {
				outcomes[damagedStart(t, uint64(seed), files, digest)]++
			}
			t.Logf("of %d: %v", seeds, outcomes)
		})
	}
}

// acknowledged returns the files of a server that has stopped, by their names in its folder, and its state's digest.
func acknowledged(t *testing.T, snapshot bool) (files map[string][]byte, digest string) {
	t.Helper()
	c := newCluster(t, 1, func(cfg *consensus.Config) { cfg.SnapshotTrailing = 8 })
	s := c.servers[0]
	for i := range 60 {
		c.write(create(t, fmt.Sprint("k", i), strings.Repeat("precious ", 1+i%7*40)))
		if snapshot && i == 40 {
			if err := s.Snapshot(c.ctx()); err != nil {
				t.Fatal(err)
			}
		}
	}
	digest = c.sameDigest()
	c.stop(s)
	files = map[string][]byte{}
	err := filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(s.dir, path)
		if err == nil {
			files[name], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, digest
}

// damagedStart starts a server on damaged files and tells what came of it.
func damagedStart(t *testing.T, seed uint64, files map[string][]byte, digest string) string {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	damaged := "raft.db"
	if random.IntN(4) == 0 {
		damaged = names[random.IntN(len(names))]
	}
	how := damages[random.IntN(len(damages))]
	c := &cluster{t: t, net: newNetwork(), tune: func(cfg *consensus.Config) { cfg.Log = slog.New(slog.DiscardHandler) }}
	s := &server{name: "s0", address: "127.0.0.1:0", dir: t.TempDir()}
	c.servers = []*server{s}
	for _, name := range names {
		content, keep := files[name], true
		if name == damaged {
			content, keep = how.do(random, slices.Clone(content))
		}
		if keep {
			writeSparse(t, filepath.Join(s.dir, name), content)
		}
	}
	defer c.close()
	err := c.tryStart(s)
	switch {
	case err == nil:
	case errors.Is(err, consensus.ErrDamaged), errors.Is(err, consensus.ErrForeign):
		return "refused"
	default:
		t.Errorf("seed %d: %s of %s: got %v, want ErrDamaged", seed, how.name, damaged, err)
		return "unclear"
	}
	if after := c.sameDigest(); after != digest {
		t.Errorf("seed %d: %s of %s: the state is %s, was %s, and nobody said so", seed, how.name, damaged, after, digest)
		return "silent loss"
	}
	return "complete"
}

// damages are what happens to a file. They return what is left of it, and whether it is there at all.
var damages = []struct {
	name string
	do   func(*rand.Rand, []byte) ([]byte, bool)
}{
	{"flipped bits", func(r *rand.Rand, b []byte) ([]byte, bool) {
		for range 1 + r.IntN(3) {
			b[r.IntN(used(b))] ^= 1 << r.IntN(8)
		}
		return b, true
	}},
	{"a flipped bit in a page's header", func(r *rand.Rand, b []byte) ([]byte, bool) {
		at := r.IntN(used(b)) / page * page
		b[min(at+r.IntN(80), len(b)-1)] ^= 1 << r.IntN(8)
		return b, true
	}},
	{"a cut", func(r *rand.Rand, b []byte) ([]byte, bool) { return b[:r.IntN(used(b))], true }},
	{"a cut, with zeros behind", func(r *rand.Rand, b []byte) ([]byte, bool) {
		clear(b[r.IntN(used(b)):])
		return b, true
	}},
	{"a page of zeros", func(r *rand.Rand, b []byte) ([]byte, bool) {
		at := r.IntN(used(b)) / page * page
		clear(b[at:min(at+page, len(b))])
		return b, true
	}},
	{"a page that is another's", func(r *rand.Rand, b []byte) ([]byte, bool) {
		from, to := r.IntN(used(b))/page*page, r.IntN(used(b))/page*page
		copy(b[to:], slices.Clone(b[from:min(from+page, len(b))]))
		return b, true
	}},
	{"loss", func(*rand.Rand, []byte) ([]byte, bool) { return nil, false }},
}

const page = 4096

// used is how long the file is without the zeros at its end.
func used(b []byte) int {
	n := len(b)
	for n > 1 && b[n-1] == 0 {
		n--
	}
	return n
}

func writeSparse(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content[:min(used(content), len(content))], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(content))); err != nil {
		t.Fatal(err)
	}
}
