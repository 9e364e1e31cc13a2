package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/e2e/harness"
	"github.com/holt-project/holt/internal/sandbox"
)

const (
	// diskSize holds what a server writes in a test, many times.
	diskSize = 256 << 20
	// frozenAtMost is when a disk thaws that nobody has thawed.
	frozenAtMost = 40 * time.Second
	// slowWrites is how many writes a slow disk does in a second, about a thirtieth of what a test machine's does.
	slowWrites = 60
	// endWords begin what a server says last when it ends by itself.
	endWords = "cannot go on"
)

// diskRoom is a cluster whose servers have a disk each.
type diskRoom struct {
	*harness.Cluster
	disks map[string]*harness.Disk // by the server's name
}

func newDiskRoom(t *testing.T, servers int) *diskRoom {
	t.Helper()
	c := ownCluster(t, harness.Size{Servers: servers})
	disks, err := c.MoveToDisks(within(t, bound), diskSize, c.Servers()...)
	must(t, err)
	room := &diskRoom{c, map[string]*harness.Disk{}}
	for _, d := range disks {
		room.disks[d.Server()] = d
		t.Cleanup(func() {
			if err := d.Thaw(); err != nil {
				t.Error(err)
			}
		})
	}
	room.sameState(t)
	return room
}

// TestDiskFaults does to one server's disk what happens to disks, while clients write. Each part leaves the cluster whole.
func TestDiskFaults(t *testing.T) {
	room := newDiskRoom(t, 3)
	for _, fault := range []struct {
		name string
		run  func(*testing.T, *diskRoom)
	}{
		{"full", fullDisk},
		{"read-only", readOnlyDisk},
		{"hung leader", hungLeader},
		{"hung follower", hungFollower},
		{"slow", slowDisk},
	} {
		if !t.Run(fault.name, func(t *testing.T) { fault.run(t, room) }) {
			return
		}
	}
}

// fullDisk fills the leader's disk: it ends, cannot go on either when it is started on the full disk, and comes back whole.
func fullDisk(t *testing.T, room *diskRoom) {
	s := room.strike(t, "full", room.leader(t), func(d *harness.Disk) error { return d.Fill() })
	s.awaitWrite(t)
	s.awaitEnd(t, endWords, "no space left on device")

	must(t, s.room.Start(within(t, bound), s.server))
	s.awaitEnd(t, "no space left on device")
	must(t, s.disk.Empty())
	s.finish(t)
}

// readOnlyDisk makes the leader's file system refuse to write, as after an error of the device.
func readOnlyDisk(t *testing.T, room *diskRoom) {
	s := room.strike(t, "read-only", room.leader(t), func(d *harness.Disk) error {
		return d.TurnReadOnly(within(t, bound))
	})
	s.awaitWrite(t)
	s.awaitEnd(t, endWords, "read-only file system")

	must(t, s.disk.MountReadOnly(within(t, bound)))
	must(t, room.Start(within(t, bound), s.server))
	s.awaitEnd(t, "read-only file system")
	must(t, s.disk.Remount(within(t, bound)))
	s.finish(t)
}

// hungLeader freezes the leader's disk until its process has given up. Until the thaw nothing can end that process
// wholly: its connections stay open, and nobody answers on them.
func hungLeader(t *testing.T, room *diskRoom) {
	s := room.strike(t, "hung-leader", room.leader(t), func(d *harness.Disk) error {
		return d.Freeze(within(t, bound), frozenAtMost)
	})
	s.awaitWrite(t)
	s.awaitWords(t, endWords, "the disk has not answered")
	s.awaitWrite(t)
	must(t, s.disk.Thaw())
	s.awaitEnd(t)
	s.finish(t)
}

// hungFollower freezes the disk of a server that does not lead, for as long as its process waits.
func hungFollower(t *testing.T, room *diskRoom) {
	s := room.strike(t, "hung-follower", anotherServer(room.Cluster, room.leader(t)), func(d *harness.Disk) error {
		return d.Freeze(within(t, bound), frozenAtMost)
	})
	s.awaitWrite(t)
	s.awaitWords(t, "the disk is slow")
	s.awaitWrite(t)
	must(t, s.disk.Thaw())
	s.finish(t)
}

// slowDisk lets the leader's disk do few writes in a second: nothing changes hands, and its speed comes back.
func slowDisk(t *testing.T, room *diskRoom) {
	const namespace, writes = "slow", 100
	must(t, room.NewNamespace(within(t, bound), namespace))
	leader := room.leader(t)
	disk := room.disks[leader]
	writer := harness.StartWriter(t.Context(), room.API, namespace, "written", 4)
	usual := awaitAcked(t, writer, writes)
	before, err := room.Status(within(t, bound), leader)
	must(t, err)
	err = disk.Throttle(within(t, bound), slowWrites)
	if errors.Is(err, harness.ErrNoThrottle) {
		t.Skip(err)
	}
	must(t, err)
	slow := awaitAcked(t, writer, writes)
	must(t, disk.Unthrottle(within(t, bound)))
	awaitAcked(t, writer, writes) // what was queued is done
	again := awaitAcked(t, writer, writes)
	after, err := room.Status(within(t, bound), leader)
	must(t, err)
	names, failed := writer.Stop()
	t.Logf("%d writes took %s, %s on a slow disk, and %s after that; %d writes failed, term %d became %d",
		writes, usual, slow, again, failed, before.Term, after.Term)
	if changes := after.Term - before.Term; changes > 2 {
		t.Errorf("leadership changed %d times, want at most 2", changes)
	}
	if again > slow {
		t.Errorf("its speed did not come back: %s before, %s on a slow disk, %s after", usual, slow, again)
	}
	room.sameState(t)
	checkWritten(t, room.Cluster, namespace, names)
}

// struck is a server whose disk has a fault, and what is written meanwhile.
type struck struct {
	room      *diskRoom
	namespace string
	server    string
	other     string
	disk      *harness.Disk
	pid       int
	said      int // how much its log had before
	at        time.Time
	writers   []*harness.Writer
}

// strike lets clients write through the other servers, and something happen to one server's disk.
func (r *diskRoom) strike(t *testing.T, namespace, server string, fault func(*harness.Disk) error) *struck {
	t.Helper()
	s := &struck{room: r, namespace: namespace, server: server, other: anotherServer(r.Cluster, server), disk: r.disks[server]}
	must(t, r.NewNamespace(within(t, bound), namespace))
	for _, other := range r.Servers() {
		if other.Name != server {
			s.writers = append(s.writers, harness.StartWriter(t.Context(), r.At(other.Name), namespace, other.Name, 2))
		}
	}
	for _, w := range s.writers {
		awaitAcked(t, w, 50)
	}
	s.pid = r.host(t, server).PID
	s.said = len(r.log(t, server))
	must(t, fault(s.disk))
	s.at = time.Now()
	return s
}

// awaitWrite waits until a write that begins now succeeds through another server.
func (s *struck) awaitWrite(t *testing.T) {
	t.Helper()
	begun := time.Now()
	must(t, harness.Await(within(t, bound), "a write succeeds through "+s.other, func(ctx context.Context) error {
		name := fmt.Sprintf("since-%d", time.Since(s.at).Microseconds())
		return harness.WriteConfigMap(ctx, s.room.At(s.other), s.namespace, name)
	}))
	took := time.Since(begun)
	t.Logf("the disk of %s is %s since %s; a write through %s took %s", s.server, s.namespace,
		begun.Sub(s.at).Round(time.Millisecond), s.other, took.Round(time.Millisecond))
	if took > failoverBound {
		t.Errorf("it took %s, want at most %s", took, failoverBound)
	}
}

// awaitWords waits until the server has said something since the fault: all of words in one line.
func (s *struck) awaitWords(t *testing.T, words ...string) {
	t.Helper()
	must(t, harness.Await(within(t, bound), s.server+" tells what is wrong", func(context.Context) error {
		said := s.room.log(t, s.server)[s.said:]
		for line := range strings.Lines(said) {
			if containsAll(line, words) {
				return nil
			}
		}
		return fmt.Errorf("none of these lines has %q:\n%s", words, said)
	}))
}

func containsAll(line string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(line, w) {
			return false
		}
	}
	return true
}

// awaitEnd waits until the server has ended by itself, and checks what it said.
func (s *struck) awaitEnd(t *testing.T, words ...string) {
	t.Helper()
	must(t, harness.Await(within(t, bound), s.server+" ends", func(context.Context) error {
		if h := s.room.host(t, s.server); h.PID != 0 {
			return fmt.Errorf("it is %s", h.State)
		}
		// Threads that wait for a hung disk hold on to everything, while their process has no command line any more.
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", s.pid)); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("process %d is still there: %v", s.pid, err)
		}
		return nil
	}))
	if len(words) > 0 {
		s.awaitWords(t, words...)
	}
	s.said = len(s.room.log(t, s.server))
}

// finish starts the server where it has ended, and checks that all have everything.
func (s *struck) finish(t *testing.T) {
	t.Helper()
	if s.room.host(t, s.server).PID == 0 {
		must(t, s.room.Start(within(t, bound), s.server))
	}
	var acked []string
	for _, w := range s.writers {
		names, failed := w.Stop()
		t.Logf("%d writes acknowledged, %d not", len(names), failed)
		acked = append(acked, names...)
	}
	s.room.sameState(t)
	checkWritten(t, s.room.Cluster, s.namespace, acked)
}

// sameState waits until all servers have the same state, and not just none, as while they read their logs.
func (r *diskRoom) sameState(t *testing.T) {
	t.Helper()
	for _, server := range r.Servers() {
		must(t, harness.Await(within(t, bound), server.Name+" answers", func(ctx context.Context) error {
			return r.At(server.Name).Get(ctx, harness.Namespaces, "", "default", &corev1.Namespace{})
		}))
	}
	status, err := r.AwaitSameState(within(t, bound))
	must(t, err)
	t.Logf("all servers are at revision %d of term %d with digest %s", status.Revision, status.Term, status.Digest)
}

func (r *diskRoom) leader(t *testing.T) string {
	t.Helper()
	leader, err := r.Leader(within(t, bound))
	must(t, err)
	return leader
}

func (r *diskRoom) host(t *testing.T, name string) sandbox.Host {
	t.Helper()
	hosts, err := r.Hosts(within(t, bound))
	must(t, err)
	for _, h := range hosts {
		if h.Name == name {
			return h
		}
	}
	t.Fatalf("no host %s in %v", name, hosts)
	return sandbox.Host{}
}

func (r *diskRoom) log(t *testing.T, server string) string {
	t.Helper()
	data, err := os.ReadFile(r.LogFile(server))
	must(t, err)
	return string(data)
}

// awaitAcked waits until a writer has some more acknowledged writes, and tells how long that took.
func awaitAcked(t *testing.T, w *harness.Writer, more int) time.Duration {
	t.Helper()
	before, _ := w.Acked()
	begun := time.Now()
	must(t, harness.Await(within(t, bound), "there are writes", func(context.Context) error {
		if n, last := w.Acked(); n < before+more {
			return fmt.Errorf("%d of %d were acknowledged; last error: %w", n-before, more, last)
		}
		return nil
	}))
	return time.Since(begun)
}
