package sandbox_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/internal/sandbox"
)

func TestBadUseChangesNothing(t *testing.T) {
	checkNothingLeft(t)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, c := range []struct{ args, want string }{
		{"up --name Bad_Name", "RFC 1123"},
		{"up --name a.b", "must not contain dots"},
		{"up --name ../x", "RFC 1123"},
		{"up --name=", "RFC 1123"},
		{"up --servers 0", "from 1 to 89 servers"},
		{"up --servers 90", "from 1 to 89 servers"},
		{"up --servers three", "invalid argument"},
		{"up --agents -1", "from 0 to 154 agents"},
		{"up --timeout 0s", "--timeout must be positive"},
		{"up --images /no/such/folder", "images folder"},
		{"up --images " + file, "is not a folder"},
		{"up --kubeconfig " + file, "not overwritten"},
		{"up --kubeconfig /no/such/folder/config", "is not a folder"},
		{"up --subnet-pool ten", "--subnet-pool"},
		{"up --subnet-pool 10.0.0.0/8", "from /16 to /24"},
		{"up --subnet-pool fd00::/64", "IPv4"},
		{"up extra", "unknown command"},
		{"down --name X", "RFC 1123"},
		{"down --name x --all", "none of the others can be"},
		{"hosts --name nowhere", "holt up --name nowhere"},
		{"hosts -o yaml", "use -o json"},
		{"host explode server-1", "unknown command"},
		{"host kill", "needs the name of one host"},
		{"host kill a b", "needs the name of one host"},
		{"host kill server-1 --name nowhere", "no such sandbox"},
		{"host start server-1 --process", "unknown flag"},
	} {
		var out bytes.Buffer
		if err := holt(t, &out, strings.Fields(c.args)...).Run(); err == nil || !strings.Contains(out.String(), c.want) {
			t.Errorf("holt %s: %v; %q is not in the output:\n%s", c.args, err, c.want, &out)
		}
	}
}

func TestOnlyRootMayMakeOrChangeASandbox(t *testing.T) {
	s := up(t, options())
	asNobody(t, func() {
		if _, err := sandbox.Up(t.Context(), options()); !errors.Is(err, sandbox.ErrNotRoot) {
			t.Errorf("up: %v", err)
		}
		if err := s.Kill(t.Context(), "agent-1"); !errors.Is(err, sandbox.ErrNotRoot) {
			t.Errorf("kill: %v", err)
		}
		if _, err := sandbox.Down(t.Context(), s.Name()); !errors.Is(err, sandbox.ErrNotRoot) {
			t.Errorf("down: %v", err)
		}
		if _, err := sandbox.Load(s.Name()); !errors.Is(err, sandbox.ErrNotRoot) {
			t.Errorf("load: %v", err)
		}
	})
}

// asNobody runs f on a thread without root's rights; the thread ends with it.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		const nobody = 65534
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			failed <- errno
			return
		}
		f()
		close(failed)
	}()
	must(t, <-failed)
}
