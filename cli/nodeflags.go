package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// load takes flags that were not given from the configuration file, and checks what all nodes need.
func (n *nodeFlags) load(cmd *cobra.Command) error {
	if os.Geteuid() != 0 {
		return errors.New("a node needs root: run it with sudo, or as a systemd service")
	}
	if n.config != "" {
		if err := fromFile(cmd, n.config); err != nil {
			return err
		}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.ToUpper(n.logLevel))); err != nil {
		return fmt.Errorf("--log-level %q: it is one of debug, info, warn and error", n.logLevel)
	}
	return nil
}

// fromFile sets the flags that a YAML file names, unless they were given.
func fromFile(cmd *cobra.Command, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	var values map[string]any
	if err := yaml.UnmarshalStrict(data, &values); err != nil {
		return fmt.Errorf("--config %s: %w", path, err)
	}
	for key, value := range values {
		f := cmd.Flags().Lookup(key)
		if f == nil || key == "config" {
			return fmt.Errorf("--config %s: %q is not a setting: see %s --help", path, key, cmd.CommandPath())
		}
		if f.Changed {
			continue
		}
		given, err := text(value)
		if err == nil {
			err = cmd.Flags().Set(key, given)
		}
		if err != nil {
			return fmt.Errorf("--config %s: %s: %w", path, key, err)
		}
	}
	return nil
}

// text is a value as it would be written in a flag.
func text(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64: // every number of a YAML file
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			part, err := text(v[i])
			if err != nil {
				return "", err
			}
			parts[i] = part
		}
		return strings.Join(parts, ","), nil
	case nil:
		return "", errors.New("it has no value")
	}
	return "", errors.New("it must be a text, a number, true, false, or a list of these")
}

// resolve fills in what was left out: name, address and token.
func (n *nodeFlags) resolve(addressFlag string) (name string, address netip.Addr, token string, err error) {
	if name = n.name; name == "" {
		if name, err = os.Hostname(); err != nil {
			return "", address, "", fmt.Errorf("--name: %w", err)
		}
		name = strings.ToLower(name)
	}
	if address, err = n.nodeAddress(addressFlag); err != nil {
		return "", address, "", err
	}
	token, err = n.readToken()
	return name, address, token, err
}

func (n *nodeFlags) nodeAddress(flag string) (netip.Addr, error) {
	if n.address != "" {
		a, err := netip.ParseAddr(n.address)
		if err != nil || !a.Is4() {
			return a, fmt.Errorf("%s %q: it must be an IPv4 address", flag, n.address)
		}
		return a, nil
	}
	// Nothing is sent: connecting a datagram socket asks the routing table for the address of the way out.
	conn, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return netip.Addr{}, fmt.Errorf("there is no default route to take the node's address from: give it with %s", flag)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// readToken returns the token; none is fine for a node that has joined already.
func (n *nodeFlags) readToken() (string, error) {
	if n.tokenFile == "" {
		return n.token, nil
	}
	if n.token != "" {
		return "", errors.New("--token and --token-file exclude each other")
	}
	data, err := os.ReadFile(n.tokenFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("--token-file: %w: copy it from the data folder of a server", err)
	}
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

func parsePrefix(flag, value string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(value)
	if err != nil {
		return p, fmt.Errorf("%s: %w", flag, err)
	}
	return p, nil
}

// notifyReady tells systemd, if it is there.
func notifyReady() {
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		slog.Warn("systemd could not be told that the node is ready", "error", err)
	}
}
