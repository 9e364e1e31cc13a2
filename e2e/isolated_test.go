package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/internal/sandbox"
)

// isolatedEnv marks a process of these tests that has the machine's mounts and network for itself.
const isolatedEnv = "HOLT_E2E_ISOLATED"

func isolated() bool { return os.Getenv(isolatedEnv) != "" }

// runIsolated runs the calling test again, in namespaces of its own, and fails if it does there.
func runIsolated(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v=true")
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.Env = append(os.Environ(), isolatedEnv+"=1", "HOLT_SANDBOX_ROOT="+t.TempDir()+"/sandboxes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Run())
}

// isolate completes what the namespaces begin: no mount comes in or goes out, and names of network namespaces are our own.
func isolate() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		return err
	}
	// Link-local addresses come and go by themselves.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// leftBehind says what a run has left on the machine under its sandboxes' names.
func leftBehind() error {
	inv, err := sandbox.TakeInventory()
	if err != nil {
		return err
	}
	mine := fmt.Sprintf("%s%d-", namePrefix, os.Getpid())
	var failures error
	for _, list := range [][]string{inv.Processes, inv.Namespaces, inv.Mounts, inv.Loops, inv.Cgroups, inv.Files} {
		for _, line := range list {
			if strings.Contains(line, mine) {
				failures = errors.Join(failures, errors.New("left behind: "+line))
			}
		}
	}
	return failures
}
