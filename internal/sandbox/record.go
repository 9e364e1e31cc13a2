package sandbox

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/holt-project/holt/internal/folder"
)

// Roles of a host.
const (
	RoleServer = "server"
	RoleAgent  = "agent"
)

const recordVersion = 1

// record is sandbox.json: everything that the sandbox will consist of. It is written once and never changed.
type record struct {
	Version    int          `json:"version"`
	Name       string       `json:"name"`
	Index      int          `json:"index"`
	Subnet     netip.Prefix `json:"subnet"`
	Gateway    netip.Addr   `json:"gateway"`
	Bridge     string       `json:"bridge"`
	Kubeconfig string       `json:"kubeconfig,omitempty"`
	Env        []string     `json:"env,omitempty"`
	Hosts      []hostRecord `json:"hosts"`
}

type hostRecord struct {
	Name    string     `json:"name"`
	Role    string     `json:"role"`
	Address netip.Addr `json:"address"`
	// NetNS is the name of its network namespace, Link the machine's end of its cable.
	NetNS string `json:"netns"`
	Link  string `json:"link"`
	// Command starts the host's process, the first time and every other.
	Command []string `json:"command"`
}

// plan says what a sandbox with these options consists of.
func plan(o Options, dir string, index int, subnet netip.Prefix) record {
	r := record{
		Version:    recordVersion,
		Name:       o.Name,
		Index:      index,
		Subnet:     subnet,
		Gateway:    subnet.Addr().Next(),
		Bridge:     bridgeName(index),
		Kubeconfig: o.Kubeconfig,
		Env:        o.Env,
	}
	for i := range o.Servers {
		r.Hosts = append(r.Hosts, r.planHost(RoleServer, i+1))
	}
	for i := range o.Agents {
		r.Hosts = append(r.Hosts, r.planHost(RoleAgent, i+1))
	}
	for i := range r.Hosts {
		r.Hosts[i].Command = append([]string{o.Binary}, r.arguments(o, dir, r.Hosts[i])...)
	}
	return r
}

func (r *record) planHost(role string, number int) hostRecord {
	name := role + "-" + strconv.Itoa(number)
	return hostRecord{
		Name:    name,
		Role:    role,
		Address: hostAddress(r.Subnet, role, number),
		NetNS:   netnsPrefix(r.Name) + name,
		Link:    fmt.Sprintf("holt%d%c%d", r.Index, role[0], number),
	}
}

func netnsPrefix(sandbox string) string { return "holt-" + sandbox + "-" }

// parseNetNS tells whose network namespace has this name. Sandboxes' names may have hyphens too; hosts' have just one.
func parseNetNS(sandbox, netns string) (role string, number int, ok bool) {
	host, ok := strings.CutPrefix(netns, netnsPrefix(sandbox))
	if !ok {
		return "", 0, false
	}
	role, digits, _ := strings.Cut(host, "-")
	number, err := strconv.Atoi(digits)
	return role, number, err == nil && (role == RoleServer || role == RoleAgent)
}

// hostAddress gives servers .11 to .99 and agents .101 to .254, so that an address tells the host. A record that was
// recovered to be removed has no subnet, and its hosts no address.
func hostAddress(subnet netip.Prefix, role string, number int) netip.Addr {
	if !subnet.IsValid() {
		return netip.Addr{}
	}
	a := subnet.Addr().As4()
	a[3] = byte(10 + number)
	if role == RoleAgent {
		a[3] = byte(100 + number)
	}
	return netip.AddrFrom4(a)
}

func (r *record) arguments(o Options, dir string, h hostRecord) []string {
	host := hostPaths(dir, h.Name)
	if h.Role == RoleAgent {
		args := []string{"agent", "--name", h.Name, "--data-dir", host.data, "--run-dir", host.run,
			"--node-ip", h.Address.String(), "--join", strings.Join(r.serverURLs(), ","),
			"--token-file", filepath.Join(dir, agentTokenFile)}
		if o.Images != "" {
			args = append(args, "--import-dir", o.Images)
		}
		return append(args, "--cgroup-root", "/"+r.cgroup(h)+"/pods", "--resolv-conf", filepath.Join(dir, resolvConfFile))
	}
	args := []string{"server", "--name", h.Name, "--data-dir", host.data, "--bind", h.Address.String()}
	if h.Name == r.Hosts[0].Name {
		return append(args, "--cluster-cidr", "10.42.0.0/16", "--service-cidr", "10.43.0.0/16")
	}
	return append(args, "--join", r.serverURLs()[0], "--token-file", filepath.Join(dir, serverTokenFile))
}

func (r *record) servers() []netip.Addr {
	var out []netip.Addr
	for _, h := range r.Hosts {
		if h.Role == RoleServer {
			out = append(out, h.Address)
		}
	}
	return out
}

func (r *record) serverURLs() []string {
	var out []string
	for _, a := range r.servers() {
		out = append(out, serverURL(a))
	}
	return out
}

func serverURL(a netip.Addr) string { return "https://" + a.String() + ":6443" }

// cgroup is the host's cgroup, relative to the root of every hierarchy.
func (r *record) cgroup(h hostRecord) string { return filepath.Join(cgroupTop, r.Name, h.Name) }

func (r *record) lan(dir string) lan {
	return lan{sandbox: r.Name, dir: dir, bridge: r.Bridge, subnet: r.Subnet, gateway: r.Gateway}
}

// Files of a sandbox's folder.
const (
	recordFile      = "sandbox.json"
	serverTokenFile = "server-token"
	agentTokenFile  = "agent-token"
	kubeconfigFile  = "kubeconfig"
	resolvConfFile  = "resolv.conf"
	hostsFolder     = "hosts"
)

type paths struct{ dir, data, log, run, logFile, cutMark string }

func hostPaths(dir, host string) paths {
	base := filepath.Join(dir, hostsFolder, host)
	return paths{
		dir:     base,
		data:    filepath.Join(base, "data"),
		log:     filepath.Join(base, "log"),
		run:     filepath.Join(base, "run"),
		logFile: filepath.Join(base, "log", "holt.log"),
		cutMark: filepath.Join(base, "cut"),
	}
}

func (r *record) write(dir string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return folder.WriteFile(filepath.Join(dir, recordFile), append(data, '\n'))
}

// readRecord returns an error that wraps os.ErrNotExist if the sandbox's Up was killed before it made anything.
func readRecord(dir string) (*record, error) {
	file := filepath.Join(dir, recordFile)
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the sandbox's record: %w", err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", file, err)
	}
	if r.Version != recordVersion || r.Name != filepath.Base(dir) || len(r.Hosts) == 0 {
		return nil, fmt.Errorf("%s is not a record that this holt understands", file)
	}
	return &r, nil
}
