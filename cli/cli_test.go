package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// holt runs a command and returns what it printed.
func holt(args ...string) (string, error) {
	root := newRoot()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.Execute()
	return out.String(), err
}

func TestHelp(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		out, err := holt(args...)
		if err != nil || !strings.Contains(out, "Usage:") || c.Short == "" {
			t.Errorf("%s: %v\n%s", c.CommandPath(), err, out)
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRoot())
}

func TestVersion(t *testing.T) {
	if out, err := holt("version"); err != nil || out != "holt "+version+"\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ args, want string }{
		{"nonsense", "unknown command"},
		{"token nonsense", "unknown command"},
		{"version x", "unknown command"},
		{"server --nonsense", "unknown flag"},
		{"server x", "unknown command"},
		{"server --log-level loud", "debug, info, warn and error"},
		{"server --cluster-cidr x", "--cluster-cidr"},
		{"server --service-cidr 10.0.0.0", "--service-cidr"},
		{"server --bind ::1", "IPv4"},
		{"agent --node-ip x", "--node-ip"},
		{"agent --node-ip 192.0.2.1 --data-dir " + dir, "--join"},
		{"agent --token a --token-file " + file("token", "b"), "exclude each other"},
		{"agent --token-file /no/such/file", "copy it from the data folder of a server"},
		{"agent --token-file " + dir, "--token-file"},
		{"server --config /no/such/file", "--config"},
		{"server --config " + file("unknown", "nonsense: 1\n"), `"nonsense" is not a setting: see holt server --help`},
		{"server --config " + file("itself", "config: x\n"), "is not a setting"},
		{"server --config " + file("twice", "port: 1\nport: 2\n"), "port"},
		{"server --config " + file("bad", "port: x\n"), "port"},
		{"server --config " + file("null", "name:\n"), "name: it has no value"},
		{"server --config " + file("map", "name: {a: b}\n"), "it must be a text"},
		{"server --config " + file("list", "- a\n"), "--config"},
		{"token create --role admin", "server or agent"},
		{"token create --ttl -1h", "must not be negative"},
		{"token create --kubeconfig /no/such/file", "kubeconfig"},
		{"token create --kubeconfig " + file("kubeconfig", "apiVersion: v1\n"), "no current context"},
	} {
		if _, err := holt(strings.Fields(c.args)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("holt %s: %v; want %q", c.args, err, c.want)
		}
	}
}

func TestConfigFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	text := "name: from-file\nport: 7000\njoin: [https://a:1, b]\nunreachable-seconds: 1000000\nlog-level: warn\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := newServer()
	if err := cmd.ParseFlags([]string{"--name", "from-flag"}); err != nil {
		t.Fatal(err)
	}
	if err := fromFile(cmd, path); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{"name": "from-flag", "port": "7000", "unreachable-seconds": "1000000",
		"log-level": "warn", "bind": ""} {
		if got := cmd.Flags().Lookup(flag).Value.String(); got != want {
			t.Errorf("%s is %q, not %q", flag, got, want)
		}
	}
	if join, err := cmd.Flags().GetStringSlice("join"); err != nil || !slices.Equal(join, []string{"https://a:1", "b"}) {
		t.Errorf("join: %q, %v", join, err)
	}
}

func TestOnlyRootRunsNodes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("the tests run as root")
	}
	asNobody(t, func() {
		for _, command := range []string{"server", "agent"} {
			if _, err := holt(command); err == nil || !strings.Contains(err.Error(), "needs root") {
				t.Errorf("%s: %v", command, err)
			}
		}
	})
}
