package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/holt-project/holt/internal/sandbox"
)

// TestDownLeavesNothing runs the commands as a user does, with an application on the cluster, and compares the machine
// before and after. It does so in a network and a mount namespace of its own, where nobody else changes anything.
func TestDownLeavesNothing(t *testing.T) {
	if !isolated() {
		runIsolated(t)
		return
	}
	for _, c := range []struct {
		name string
		// harm is done to the running cluster before it is taken down.
		harm func(t *testing.T, name string, hosts []sandbox.Host)
	}{
		{"in order", func(*testing.T, string, []sandbox.Host) {}},
		{"everything killed", func(t *testing.T, name string, hosts []sandbox.Host) {
			for _, h := range hosts {
				holt(t, "host", "kill", h.Name, "--name", name)
			}
		}},
		{"processes killed, pods left", func(t *testing.T, name string, hosts []sandbox.Host) {
			s, err := sandbox.Load(name)
			must(t, err)
			for _, h := range hosts {
				must(t, s.KillProcess(t.Context(), h.Name))
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := newName()
			before := inventory(t, name)
			kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
			t.Cleanup(func() { // when the test fails halfway
				if _, err := sandbox.Down(context.Background(), name); err != nil {
					t.Error(err)
				}
			})
			holt(t, "up", "--name", name, "--servers", "1", "--agents", "1", "--images", programs.Images, "--kubeconfig", kubeconfig)
			run := func(args ...string) {
				t.Helper()
				out, err := exec.CommandContext(within(t, 2*bound), programs.Kubectl, append(args, "--kubeconfig", kubeconfig)...).CombinedOutput()
				if err != nil {
					t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
				}
			}
			run("apply", "-f", programs.Examples)
			run("rollout", "status", "deployment/whoami", "--timeout=60s")
			var hosts []sandbox.Host
			must(t, json.Unmarshal([]byte(holt(t, "hosts", "--name", name, "-o", "json")), &hosts))
			if len(hosts) != 2 || !hosts[0].Leader || hosts[1].PID == 0 {
				t.Errorf("holt hosts tells %+v", hosts)
			}
			c.harm(t, name, hosts)
			holt(t, "down", "--name", name)
			if diff := cmp.Diff(before, inventory(t, name), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("the machine before and after (-before +after):\n%s", diff)
			}
			if _, err := os.Stat(kubeconfig); !os.IsNotExist(err) {
				t.Errorf("the kubeconfig is still there: %v", err)
			}
		})
	}
}

// holt runs a command of the binary under test, which must succeed, and returns what it printed.
func holt(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(within(t, 4*bound), programs.Holt, args...)
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("holt %s: %v\n%s", strings.Join(args, " "), err, &errOut)
	}
	return string(out)
}

// inventory is what the machine has. Of what is the whole machine's and not the namespaces', only what bears the
// sandbox's name counts: others may be at work.
func inventory(t *testing.T, name string) sandbox.Inventory {
	t.Helper()
	inv, err := sandbox.TakeInventory()
	must(t, err)
	others := func(line string) bool { return !strings.Contains(line, name) }
	inv.Processes = slices.DeleteFunc(inv.Processes, others)
	inv.Cgroups = slices.DeleteFunc(inv.Cgroups, others)
	// The mounts were copied when the test got a namespace of its own; what others remove meanwhile goes here too.
	inv.Mounts = slices.DeleteFunc(inv.Mounts, others)
	inv.Loops = slices.DeleteFunc(inv.Loops, others)
	return inv
}
