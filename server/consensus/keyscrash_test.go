package consensus_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/folder"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/consensus"
)

// victimEnv makes the test binary the process that TestKillDuringRotation kills, and names its folder.
const victimEnv = "HOLT_TEST_VICTIM"

// Rotations, each with its reseal, follow each other while clients write; the process is killed again and again.
func TestKillDuringRotation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acked, address := 0, ""
	for round := range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), victimEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		target, rotations := acked+40+17*round, 0
		for lines := bufio.NewScanner(out); (acked < target || rotations < 1) && lines.Scan(); {
			var n int
			if _, err := fmt.Sscanf(lines.Text(), "acked %d", &n); err == nil {
				acked = n
			} else if _, err := fmt.Sscanf(lines.Text(), "at %s", &address); err != nil {
				rotations++
			}
		}
		if err := errors.Join(cmd.Process.Kill(), out.Close()); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		if acked < target || rotations < 1 {
			t.Fatalf("round %d: the process ended by itself after %d writes and %d rotations", round, acked, rotations)
		}
	}
	ring, err := readRing(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, net: newNetwork(), tune: func(cfg *consensus.Config) { cfg.Keys = seal.NewHolder(ring) }}
	t.Cleanup(c.close)
	s := &server{name: "s0", address: address, dir: filepath.Join(dir, "raft")}
	c.servers = []*server{s}
	c.start(s)
	c.leader()
	for i := range acked {
		if value(s.store, fmt.Sprint("k", i+1)) != "v" {
			t.Fatalf("write %d of %d was acknowledged and is lost", i+1, acked)
		}
	}
}

func ringFile(dir string) string { return filepath.Join(dir, "keyring.json") }

func readRing(dir string) (ring seal.Ring, err error) {
	data, err := os.ReadFile(ringFile(dir))
	if err == nil {
		err = json.Unmarshal(data, &ring)
	}
	return ring, err
}

// keepRing does with a ring what a server does: the file comes first.
func keepRing(dir string, keys *seal.Holder, ring seal.Ring) error {
	data, err := json.Marshal(ring)
	if err != nil {
		return err
	}
	if err := folder.WriteFile(ringFile(dir), data); err != nil {
		return err
	}
	keys.Swap(ring)
	return nil
}

// victim writes and rotates, and says so, until it is killed.
func victim(dir string) int {
	if err := runVictim(dir); err != nil {
		fmt.Fprintln(os.Stderr, "victim:", err)
	}
	return 1
}

func runVictim(dir string) error {
	keys := seal.NewHolder(seal.Ring{})
	ring, err := readRing(dir)
	if errors.Is(err, fs.ErrNotExist) {
		ring, err = seal.NewRing(time.Now())
	}
	if err != nil {
		return err
	}
	if err := keepRing(dir, keys, ring); err != nil {
		return err
	}
	l, err := newNetwork().tryListen(addressIn(dir))
	if err != nil {
		return err
	}
	if err := folder.WriteFile(filepath.Join(dir, "address"), []byte(l.address())); err != nil {
		return err
	}
	fmt.Println("at", l.address())
	store := newStore()
	node, err := consensus.Open(consensus.Config{Name: "s0", Address: l.address(), Cluster: "test", Keys: keys,
		DataDir: filepath.Join(dir, "raft"), Transport: l, Bootstrap: true, Log: slog.New(slog.DiscardHandler)}, store)
	if err != nil {
		return err
	}
	failed := make(chan error)
	go func() { failed <- rotateForEver(node, dir, keys) }()
	go func() { failed <- writeForEver(node, store) }()
	return <-failed
}

func addressIn(dir string) string {
	if data, err := os.ReadFile(filepath.Join(dir, "address")); err == nil {
		return string(data)
	}
	return "127.0.0.1:0"
}

func writeForEver(node *consensus.Node, store *fsm.Store) error {
	ctx := context.Background()
	for node.Linearize(ctx) != nil { // an election is under way
	}
	for i := store.View().Len() + 1; ; i++ {
		raw, err := configMapOf(fmt.Sprint("k", i), "v").Marshal()
		if err != nil {
			return err
		}
		op := fsm.Op{Verb: fsm.Create, Resource: "configmaps", Namespace: "default", Name: fmt.Sprint("k", i), Raw: raw}
		results, err := node.Propose(ctx, []fsm.Op{op})
		if err != nil || results[0].Err != nil {
			return fmt.Errorf("write %d: %v, %v", i, err, results)
		}
		fmt.Println("acked", i)
		if i%50 == 0 {
			if err := node.Snapshot(ctx); err != nil {
				return err
			}
		}
	}
}

func rotateForEver(node *consensus.Node, dir string, keys *seal.Holder) error {
	for {
		next, err := keys.Ring().Add(time.Now())
		if err != nil {
			return err
		}
		if err := keepRing(dir, keys, next); err != nil {
			return err
		}
		if err := node.Reseal(context.Background()); err != nil {
			continue // a snapshot with the key before was being written
		}
		needed, err := node.KeysNeeded()
		if err != nil || len(needed) > 1 {
			continue
		}
		for _, old := range keys.Ring().IDs()[1:] {
			if next, err = next.Drop(old); err != nil {
				return err
			}
		}
		if err := keepRing(dir, keys, next); err != nil {
			return err
		}
		fmt.Println("rotated")
	}
}
