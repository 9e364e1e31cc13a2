package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/holt-project/holt/internal/sandbox"
)

func TestDownRemovesEverything(t *testing.T) {
	checkNothingLeft(t)
	o := options()
	o.Servers, o.Agents = 2, 2
	s, err := sandbox.Up(t.Context(), o)
	must(t, err)
	podPID(t, s, "agent-1")
	inv := inventory(t)
	for kind, list := range map[string][]string{"processes": inv.Processes, "namespaces": inv.Namespaces, "mounts": inv.Mounts,
		"cgroups": inv.Cgroups, "links": inv.Links, "tables": inv.Tables, "files": inv.Files} {
		if len(list) == 0 {
			t.Errorf("the inventory lists no %s of a sandbox that runs", kind)
		}
	}
	must(t, s.Pause(t.Context(), "agent-1"))
	must(t, s.Cut(t.Context(), "agent-2"))
	must(t, s.Stop(t.Context(), "server-2"))
	must(t, s.Down(t.Context()))
	must(t, s.Down(t.Context()))
	if found, err := sandbox.Down(t.Context(), o.Name); found || err != nil {
		t.Errorf("a third down: %t, %v", found, err)
	}
}

// TestDownAfterAKilledUp kills up as soon as something that it makes is there.
func TestDownAfterAKilledUp(t *testing.T) {
	checkNothingLeft(t)
	root := os.Getenv("HOLT_SANDBOX_ROOT")
	exists := func(path ...string) bool {
		_, err := os.Stat(filepath.Join(path...))
		return err == nil
	}
	moments := map[string]func(name string) bool{
		"folder":     func(name string) bool { return exists(root, name) },
		"record":     func(name string) bool { return exists(root, name, "sandbox.json") },
		"bridge":     func(string) bool { _, err := netlink.LinkByName("holtbr0"); return err == nil },
		"table":      func(name string) bool { return len(inventory(t).Tables) > 0 },
		"namespace":  func(name string) bool { return exists("/run/netns/holt-" + name + "-server-1") },
		"last host":  func(name string) bool { return exists("/run/netns/holt-" + name + "-agent-2") },
		"link":       func(string) bool { _, err := netlink.LinkByName("holt0a1"); return err == nil },
		"process":    func(name string) bool { return exists(root, name, "hosts/server-1/log/holt.log") },
		"token":      func(name string) bool { return exists(root, name, "hosts/server-1/data/server-token") },
		"others run": func(name string) bool { return exists(root, name, "hosts/agent-2/log/holt.log") },
		"pod":        func(name string) bool { return exists(root, name, "hosts/agent-1/run/pod.pid") },
	}
	for what, there := range moments {
		t.Run(what, func(t *testing.T) {
			name := newName()
			killUp(t, name, func() { waitFor(t, what+" is there", func() bool { return there(name) }) })
		})
	}
	for range 15 {
		killUp(t, newName(), func() {
			<-time.After(rand.N(400 * time.Millisecond)) // any moment will do
		})
	}
}

func killUp(t *testing.T, name string, moment func()) {
	t.Helper()
	checkNothingLeft(t)
	cmd := holt(t, io.Discard, "up", "--name", name, "--servers", "2", "--agents", "2")
	must(t, cmd.Start())
	moment()
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // killed
	if _, err := sandbox.Up(t.Context(), sandbox.Options{Name: name, Servers: 1}); err == nil {
		t.Log("killed before anything was made")
	} else if !errors.Is(err, sandbox.ErrExists) {
		t.Errorf("up after a killed up: %v", err)
	}
	if _, err := sandbox.Down(t.Context(), name); err != nil {
		t.Error(err)
	}
}

func TestDownOfASandboxThatIsBeingMade(t *testing.T) {
	checkNothingLeft(t)
	o := options()
	o.Env = []string{silentEnv + "=agent-1"}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := sandbox.Up(ctx, o)
		ended <- err
	}()
	s := loadWhenThere(t, o.Name)
	impatient, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	if err := s.Down(impatient); !errors.Is(err, sandbox.ErrBusy) {
		t.Errorf("down during up: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled up: %v", err)
	}
}

func TestDownTouchesNothingOfOthers(t *testing.T) {
	checkNothingLeft(t)
	s, err := sandbox.Up(t.Context(), options())
	must(t, err)
	record, err := os.ReadFile(filepath.Join(s.Dir(), "sandbox.json"))
	must(t, err)

	// A record of the same name and index in another folder, as an up leaves it that was killed before its claim.
	root := t.TempDir()
	must(t, os.Mkdir(filepath.Join(root, s.Name()), 0o700))
	must(t, os.WriteFile(filepath.Join(root, s.Name(), "sandbox.json"), record, 0o600))
	cmd := holt(t, io.Discard, "down", "--name", s.Name())
	cmd.Env = append(os.Environ(), "HOLT_SANDBOX_ROOT="+root)
	must(t, cmd.Run())
	for _, name := range []string{"server-1", "agent-1"} {
		if got := host(t, s, name).State; got != sandbox.StateRunning {
			t.Errorf("%s is %s", name, got)
		}
	}
	must(t, s.Down(t.Context()))
}

func TestForwardingThatWasOnStaysOn(t *testing.T) {
	const file = "/proc/sys/net/ipv4/ip_forward"
	must(t, os.WriteFile(file, []byte("1"), 0))
	t.Cleanup(func() { must(t, os.WriteFile(file, []byte("0"), 0)) })
	up(t, options())
}

func TestDownAll(t *testing.T) {
	checkNothingLeft(t)
	var names []string
	for range 2 {
		s, err := sandbox.Up(t.Context(), options())
		must(t, err)
		names = append(names, s.Name())
	}
	must(t, os.Mkdir(filepath.Join(os.Getenv("HOLT_SANDBOX_ROOT"), prefix()+"unfinished"), 0o700))
	listed, err := sandbox.List()
	must(t, err)
	for _, name := range names {
		if !slices.Contains(listed, name) {
			t.Errorf("%s is not listed: %v", name, listed)
		}
	}
	var out bytes.Buffer
	if err := holt(t, &out, "down", "--all").Run(); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	if got := strings.Count(out.String(), "is removed"); got != 3 {
		t.Errorf("down --all removed %d:\n%s", got, &out)
	}
}

func TestDownFindsWhatARemovedFolderLeft(t *testing.T) {
	// A tree with an agent's mounts in it cannot be removed as a whole; the record is gone all the same.
	for agents := range 2 {
		checkNothingLeft(t)
		o := options()
		o.Agents = agents
		s, err := sandbox.Up(t.Context(), o)
		must(t, err)
		_ = os.RemoveAll(s.Dir())
		_, err = sandbox.Up(t.Context(), o)
		if !errors.Is(err, sandbox.ErrExists) || !strings.Contains(err.Error(), "holt down --name "+o.Name) {
			t.Errorf("up: %v", err)
		}
		if found, err := sandbox.Down(t.Context(), o.Name); !found || err != nil {
			t.Errorf("down: %t, %v", found, err)
		}
	}
}

func TestADamagedRecordIsSaidSo(t *testing.T) {
	checkNothingLeft(t)
	dir := filepath.Join(os.Getenv("HOLT_SANDBOX_ROOT"), newName())
	must(t, os.MkdirAll(dir, 0o700))
	t.Cleanup(func() { must(t, os.RemoveAll(filepath.Dir(dir))) })
	for _, content := range []string{"", "{", `{"version": 2}`, `{"version": 1, "name": "another", "hosts": [{}]}`} {
		must(t, os.WriteFile(filepath.Join(dir, "sandbox.json"), []byte(content), 0o600))
		if _, err := sandbox.Load(filepath.Base(dir)); err == nil || !strings.Contains(err.Error(), "sandbox.json") {
			t.Errorf("load with %q: %v", content, err)
		}
		if _, err := sandbox.Down(t.Context(), filepath.Base(dir)); err == nil || !strings.Contains(err.Error(), "sandbox.json") {
			t.Errorf("down with %q: %v", content, err)
		}
	}
	must(t, up(t, options()).Down(t.Context()))
}

// TestDownOfAFrozenDisk removes a sandbox whose user was killed after freezing a file system of a host.
func TestDownOfAFrozenDisk(t *testing.T) {
	checkNothingLeft(t)
	s, err := sandbox.Up(t.Context(), options())
	must(t, err)
	image, folder := filepath.Join(s.Dir(), "disk.img"), filepath.Join(s.Dir(), "hosts", "server-1", "data", "disk")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 16<<20))
	must(t, os.Mkdir(folder, 0o700))
	for _, command := range [][]string{
		{"mkfs.ext4", "-q", image}, {"mount", "-o", "loop", image, folder}, {"fsfreeze", "--freeze", folder},
	} {
		if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", command, err, out)
		}
	}
	if inv := inventory(t); len(inv.Loops) != 1 {
		t.Errorf("the inventory lists the loop devices %v", inv.Loops)
	}
	must(t, s.Down(t.Context()))
}
