package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// Where the machine's resolvers are named. The second is systemd-resolved's list of the servers behind its own
// address on loopback, which is all that the first names then.
var resolvConfSources = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// machineResolvConf returns the machine's resolv.conf(5) without servers on loopback: in a host's namespace
// nobody answers there. A machine without resolvers gives a file without resolvers.
func machineResolvConf(sources []string) ([]byte, error) {
	var out []byte
	for _, source := range sources {
		data, err := os.ReadFile(source)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the machine's resolvers: %w", err)
		}
		filtered, servers := withoutLoopback(data)
		if out == nil || servers > 0 {
			out = filtered
		}
		if servers > 0 {
			break
		}
	}
	return out, nil
}

func withoutLoopback(conf []byte) (filtered []byte, servers int) {
	var out bytes.Buffer
	for line := range strings.Lines(string(conf)) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "nameserver" {
			addr, err := netip.ParseAddr(fields[1])
			if err != nil || addr.Unmap().IsLoopback() || addr.IsUnspecified() {
				continue
			}
			servers++
		}
		out.WriteString(strings.TrimRight(line, "\n") + "\n")
	}
	return out.Bytes(), servers
}
