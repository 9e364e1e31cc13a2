package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/internal/sandbox"
)

func TestUpRunsEveryHost(t *testing.T) {
	o := options()
	o.Servers, o.Agents = 3, 2
	s := up(t, o)
	hosts, err := s.Hosts(t.Context())
	must(t, err)
	var got []string
	for _, h := range hosts {
		last := h.Address[strings.LastIndexByte(h.Address, '.'):]
		got = append(got, fmt.Sprintf("%s %s %s %s %t", h.Name, h.Role, last, h.State, h.Leader))
		sid, err := unix.Getsid(h.PID)
		if err != nil || sid != h.PID {
			t.Errorf("%s: process %d is in session %d (%v), not in one of its own", h.Name, h.PID, sid, err)
		}
		want := "/holt/" + s.Name() + "/" + h.Name + "/main"
		groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", h.PID))
		must(t, err)
		for line := range strings.Lines(string(groups)) {
			// The machine may have hierarchies that are not mounted here.
			if !strings.HasSuffix(strings.TrimSpace(line), want) && os.Getenv(pureV2Env) == "" {
				t.Errorf("%s: cgroup %q, want %s", h.Name, line, want)
			}
		}
		if !sameNetNS(t, h.PID, h.NetNS) {
			t.Errorf("%s does not run in the network namespace %s", h.Name, h.NetNS)
		}
	}
	want := []string{
		"server-1 server .11 running true",
		"server-2 server .12 running false",
		"server-3 server .13 running false",
		"agent-1 agent .101 running false",
		"agent-2 agent .102 running false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
}

func sameNetNS(t *testing.T, pid int, name string) bool {
	t.Helper()
	var a, b unix.Stat_t
	must(t, unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &a))
	must(t, unix.Stat("/run/netns/"+name, &b))
	return a.Ino == b.Ino && a.Dev == b.Dev
}

func TestUpFailsAtOnceWhenAHostEnds(t *testing.T) {
	checkNothingLeft(t)
	for _, victim := range []string{"server-1", "server-2", "agent-1"} {
		o := options()
		o.Servers = 2
		o.Env = []string{dieEnv + "=" + victim}
		_, err := sandbox.Up(t.Context(), o)
		var start *sandbox.StartError
		if !errors.As(err, &start) || start.Host != victim || !strings.Contains(err.Error(), "was told to die") {
			t.Errorf("error %v; want a StartError of %s with the end of its log", err, victim)
		}
	}
}

func TestUpTimesOutAndNamesTheHost(t *testing.T) {
	checkNothingLeft(t)
	o := options()
	o.Env = []string{silentEnv + "=agent-1"}
	o.Timeout = 2 * time.Second
	_, err := sandbox.Up(t.Context(), o)
	var start *sandbox.StartError
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &start) || start.Host != "agent-1" ||
		!strings.Contains(err.Error(), "has not registered") || !strings.Contains(start.LogTail, "agent-1 starts") {
		t.Errorf("error %v; want a deadline exceeded that blames agent-1 with its log", err)
	}
}

func TestKeepLeavesAFailedSandbox(t *testing.T) {
	checkNothingLeft(t)
	o := options()
	o.Env = []string{dieEnv + "=agent-1"}
	o.Keep = true
	_, err := sandbox.Up(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "holt down --name "+o.Name) {
		t.Fatalf("error %v does not say how to remove what is kept", err)
	}
	s, err := sandbox.Load(o.Name)
	must(t, err)
	if got := host(t, s, "server-1").State; got != sandbox.StateRunning {
		t.Errorf("server-1 is %s", got)
	}
	if got := host(t, s, "agent-1").State; got != sandbox.StateStopped {
		t.Errorf("agent-1 is %s", got)
	}
	must(t, s.Down(t.Context()))
}

func TestInterruptedUpCleansUp(t *testing.T) {
	checkNothingLeft(t)
	file := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(file)
	must(t, err)
	name := newName()
	cmd := holt(t, out, "up", "--name", name, "--servers", "1", "--agents", "1")
	cmd.Env = append(os.Environ(), silentEnv+"=agent-1")
	must(t, cmd.Start())
	must(t, out.Close())
	waitFor(t, "up waits for the agent", func() bool {
		content, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(content), "host=agent-1")
	})
	must(t, cmd.Process.Signal(syscall.SIGINT))
	if err := cmd.Wait(); err == nil {
		t.Error("an interrupted up succeeded")
	}
	content, err := os.ReadFile(file)
	must(t, err)
	for _, want := range []string{"holt: agent-1: ", "context canceled", "the end of its log"} {
		if !strings.Contains(string(content), want) {
			t.Errorf("%q is not in the output:\n%s", want, content)
		}
	}
}

func loadWhenThere(t *testing.T, name string) *sandbox.Sandbox {
	t.Helper()
	var s *sandbox.Sandbox
	waitFor(t, name+" has a record", func() (ok bool) {
		loaded, err := sandbox.Load(name)
		s = loaded
		return err == nil
	})
	return s
}

func TestAnExistingNameIsRefused(t *testing.T) {
	o := options()
	s := up(t, o)
	_, err := sandbox.Up(t.Context(), o)
	if !errors.Is(err, sandbox.ErrExists) || !strings.Contains(err.Error(), "holt down --name "+o.Name) {
		t.Errorf("error %v", err)
	}
	o.Root = t.TempDir()
	if _, err := sandbox.Up(t.Context(), o); !errors.Is(err, sandbox.ErrExists) || !strings.Contains(err.Error(), s.Dir()) {
		t.Errorf("with another folder: error %v", err)
	}
	if got := host(t, s, "server-1").State; got != sandbox.StateRunning {
		t.Errorf("the existing sandbox's server is %s", got)
	}
}

func TestSandboxesRunSideBySide(t *testing.T) {
	checkNothingLeft(t)
	const n = 3
	sandboxes := make([]*sandbox.Sandbox, n)
	var group errgroup.Group
	for i := range n {
		o := options()
		group.Go(func() (err error) {
			sandboxes[i], err = sandbox.Up(t.Context(), o)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	subnets := map[string]bool{}
	for _, s := range sandboxes {
		if s == nil {
			continue
		}
		addr := netip.MustParseAddr(host(t, s, "server-1").Address)
		subnets[netip.PrefixFrom(addr, 24).Masked().String()] = true
	}
	if len(subnets) != n {
		t.Errorf("%d sandboxes have the subnets %v", n, subnets)
	}
	for i, s := range sandboxes {
		if s == nil {
			continue
		}
		must(t, s.Down(t.Context()))
		for _, other := range sandboxes[i+1:] {
			if got := host(t, other, "server-1"); got.State != sandbox.StateRunning || !got.Leader {
				t.Errorf("after the removal of %s, server-1 of %s is %+v", s.Name(), other.Name(), got)
			}
		}
		if forwards := inventory(t).Forwarding; i < n-1 && forwards != "1" {
			t.Errorf("IP forwarding is %s while sandboxes run", forwards)
		}
	}
}

func TestTakenSubnetsAreAvoided(t *testing.T) {
	taken := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "taken"}}
	must(t, netlink.LinkAdd(taken))
	t.Cleanup(func() { must(t, netlink.LinkDel(taken)) })
	addr, err := netlink.ParseAddr("10.88.0.7/26")
	must(t, err)
	must(t, netlink.AddrAdd(taken, addr))
	must(t, netlink.LinkSetUp(taken))
	_, dst, err := net.ParseCIDR("10.88.1.128/25")
	must(t, err)
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: taken.Index, Dst: dst, Table: 4242, Scope: netlink.SCOPE_LINK}))

	s := up(t, options())
	if got := host(t, s, "server-1").Address; got != "10.88.2.11" {
		t.Errorf("server-1 has %s", got)
	}
	o := options()
	o.Pool = netip.MustParsePrefix("10.88.0.0/23")
	if _, err := sandbox.Up(t.Context(), o); err == nil || !strings.Contains(err.Error(), "--subnet-pool") {
		t.Errorf("with a full pool: error %v", err)
	}
}

func TestHostsReachOutside(t *testing.T) {
	outside := newOutside(t)
	s := up(t, options())
	source := make(chan string, 1)
	go func() {
		c, err := outside.Accept()
		if err != nil {
			source <- err.Error()
			return
		}
		source <- c.RemoteAddr().(*net.TCPAddr).IP.String()
		_ = c.Close()
	}()
	var out bytes.Buffer
	inHost(t, host(t, s, "agent-1"), func() {
		c, err := net.DialTimeout("tcp4", outside.Addr().String(), 10*time.Second)
		if err != nil {
			fmt.Fprint(&out, err)
			_ = outside.Close()
			return
		}
		_ = c.Close()
	})
	if got := <-source; got != "192.0.2.1" {
		t.Errorf("outside sees the host as %s (%s), want the machine's address", got, &out)
	}
}

func TestKubeconfigCopy(t *testing.T) {
	checkNothingLeft(t)
	file := filepath.Join(t.TempDir(), "config")
	o := options()
	o.Kubeconfig = file
	s, err := sandbox.Up(t.Context(), o)
	must(t, err)
	own, err := os.ReadFile(s.Kubeconfig())
	must(t, err)
	theirs, err := os.ReadFile(file)
	must(t, err)
	if !bytes.Equal(own, theirs) || len(own) == 0 {
		t.Errorf("the copy differs:\n%s", theirs)
	}
	must(t, s.Down(t.Context()))
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after down: %v", err)
	}

	s, err = sandbox.Up(t.Context(), o)
	must(t, err)
	must(t, os.WriteFile(file, []byte("the user's own"), 0o600))
	must(t, s.Down(t.Context()))
	if got, _ := os.ReadFile(file); string(got) != "the user's own" {
		t.Errorf("down changed a file that is not the sandbox's: %q", got)
	}
	if _, err := sandbox.Up(t.Context(), o); err == nil || !strings.Contains(err.Error(), "not overwritten") {
		t.Errorf("with an existing file: error %v", err)
	}
}

func TestCommandLineRoundTrip(t *testing.T) {
	checkNothingLeft(t)
	name := newName()
	run := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if err := holt(t, &out, args...).Run(); err != nil {
			t.Fatalf("holt %v: %v\n%s", args, err, &out)
		}
		return out.String()
	}
	out := run("up", "--name", name, "--servers", "1", "--agents", "1", "--images", t.TempDir())
	for _, want := range []string{"NAME", "agent-1", "kubeconfig: ", "holt down --name " + name} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in the output of up:\n%s", want, out)
		}
	}
	var hosts []sandbox.Host
	must(t, json.Unmarshal([]byte(run("hosts", "-o", "json", "--name", name)), &hosts))
	if len(hosts) != 2 || !hosts[0].Leader || hosts[1].State != sandbox.StateRunning {
		t.Errorf("hosts after up has ended: %+v", hosts)
	}
	for _, step := range []struct{ verb, state string }{
		{"pause", "paused"}, {"resume", "running"}, {"cut", "cut"}, {"heal", "running"},
		{"stop", "stopped"}, {"start", "running"}, {"kill", "stopped"}, {"start", "running"},
	} {
		run("host", step.verb, "agent-1", "--name", name)
		must(t, json.Unmarshal([]byte(run("hosts", "-o", "json", "--name", name)), &hosts))
		if hosts[1].State != step.state {
			t.Errorf("after %s: agent-1 is %s, want %s", step.verb, hosts[1].State, step.state)
		}
	}
	run("host", "kill", "--process", "agent-1", "--name", name)
	if out := run("hosts", "--name", name); !strings.Contains(out, "stopped") {
		t.Errorf("after kill --process:\n%s", out)
	}
	run("down", "--name", name)
	if out := run("down", "--name", name); !strings.Contains(out, "no sandbox") {
		t.Errorf("a second down says %q", out)
	}
}

func podPID(t *testing.T, s *sandbox.Sandbox, agent string) int {
	t.Helper()
	var pid int
	waitFor(t, "the pod runs", func() bool {
		data, err := os.ReadFile(filepath.Join(s.Dir(), "hosts", agent, "run", "pod.pid"))
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(string(data))
		return err == nil
	})
	return pid
}
