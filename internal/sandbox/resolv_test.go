package sandbox

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMachineResolvConf(t *testing.T) {
	write := func(content string) string {
		file := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	stub := write("nameserver 127.0.0.53\noptions edns0\nsearch lan\n")
	for name, c := range map[string]struct {
		sources []string
		want    string
	}{
		"servers stay, loopback goes": {
			[]string{write("# c\nsearch a b\nnameserver 127.0.0.1\nnameserver 192.0.2.53\nnameserver ::1\nnameserver nonsense\nnameserver fd00::53")},
			"# c\nsearch a b\nnameserver 192.0.2.53\nnameserver fd00::53\n",
		},
		"a stub's servers":      {[]string{stub, write("nameserver 192.0.2.1\n")}, "nameserver 192.0.2.1\n"},
		"a stub alone":          {[]string{stub, "/no/such/file"}, "options edns0\nsearch lan\n"},
		"no file":               {[]string{"/no/such/file"}, ""},
		"mapped loopback, zero": {[]string{write("nameserver ::ffff:127.0.0.1\nnameserver 0.0.0.0\n")}, ""},
	} {
		got, err := machineResolvConf(c.sources)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, c.want)
		}
	}
}
