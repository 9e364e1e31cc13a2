package sandbox_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/cli"
	"github.com/holt-project/holt/internal/sandbox"
)

const (
	isolatedEnv = "HOLT_TEST_ISOLATED"
	// pureV2Env makes the tests see a machine that has version 2 of cgroups alone.
	pureV2Env = "HOLT_TEST_CGROUP2"
)

// TestMain makes the test binary a holt whose servers and agents are imitations, and runs the tests as on a machine
// of their own: in a network and a mount namespace that nothing else is in.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "server", "agent", "pod":
			if err := fakeHost(os.Args[1], os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case "up", "down", "hosts", "host":
			os.Exit(cli.Main(os.Args[1:]))
		}
	}
	if os.Getenv(isolatedEnv) == "" {
		os.Exit(runIsolated())
	}
	if err := prepareIsolation(); err != nil {
		fmt.Fprintln(os.Stderr, "isolating the tests:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func runIsolated() int {
	root, err := os.MkdirTemp("", "holt-sandbox-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(root) }()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), isolatedEnv+"=1", "HOLT_SANDBOX_ROOT="+root+"/sandboxes")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func prepareIsolation() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		return err
	}
	// Link-local addresses come and go by themselves, and inventories are compared.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	if os.Getenv(pureV2Env) == "" {
		return nil
	}
	if err := unix.Unmount("/sys/fs/cgroup", unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, "")
}

var counter atomic.Int32

// prefix begins the names of this process's sandboxes, in what it shares with others: the cgroups, and the mounts that
// were there when it began.
func prefix() string { return fmt.Sprintf("t%d-", os.Getpid()) }

func newName() string { return fmt.Sprintf("%s%d", prefix(), counter.Add(1)) }

func options() sandbox.Options {
	return sandbox.Options{Name: newName(), Servers: 1, Agents: 1, Timeout: time.Minute}
}

// up starts a sandbox that is removed when the test ends, and checks that nothing of it is left then.
func up(t *testing.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	checkNothingLeft(t)
	s, err := sandbox.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// checkNothingLeft compares the machine when the test ends with how it is now.
func checkNothingLeft(t *testing.T) {
	t.Helper()
	before := inventory(t)
	t.Cleanup(func() {
		// Without an entry of this process: none at all, or none but those of others that are at work just then.
		if diff := cmp.Diff(before, inventory(t), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("the machine before and after (-before +after):\n%s", diff)
		}
	})
}

func inventory(t *testing.T) sandbox.Inventory {
	t.Helper()
	inv, err := sandbox.TakeInventory()
	if err != nil {
		t.Fatal(err)
	}
	others := func(line string) bool { return !strings.Contains(line, "/holt/"+prefix()) }
	inv.Processes = slices.DeleteFunc(inv.Processes, others)
	inv.Cgroups = slices.DeleteFunc(inv.Cgroups, others)
	inv.Loops = slices.DeleteFunc(inv.Loops, func(line string) bool { return !strings.Contains(line, os.Getenv("HOLT_SANDBOX_ROOT")) })
	// This mount namespace began as a copy of the machine's: it loses what somebody removes there.
	inv.Mounts = slices.DeleteFunc(inv.Mounts, func(line string) bool {
		netns := strings.HasPrefix(line, "/run/netns/holt-") && !strings.HasPrefix(line, "/run/netns/holt-"+prefix())
		return netns || strings.HasPrefix(line, "/var/lib/holt/")
	})
	return inv
}

func host(t *testing.T, s *sandbox.Sandbox, name string) sandbox.Host {
	t.Helper()
	hosts, err := s.Hosts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		if h.Name == name {
			return h
		}
	}
	t.Fatalf("no host %s in %v", name, hosts)
	return sandbox.Host{}
}

// waitFor polls a condition of other processes.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

// holt returns a command that runs this test binary as holt.
func holt(t *testing.T, out io.Writer, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
