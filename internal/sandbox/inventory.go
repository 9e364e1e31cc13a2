package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Inventory is what exists on the machine of all kinds of things that sandboxes make. It holds only what stays
// the same as long as nothing is made or removed, sorted, so that two can be compared.
type Inventory struct {
	Processes  []string // in sandboxes' cgroups, with their cgroup
	Namespaces []string // named network namespaces
	Mounts     []string
	Loops      []string // devices, with the files that are behind them
	Cgroups    []string // of sandboxes
	Links      []string
	Addresses  []string
	Tables     []string // of nftables
	Rules      []string // of routing policy
	Routes     []string
	Files      []string // below the sandboxes' folder
	Forwarding string   // the IPv4 switch
}

// TakeInventory lists the machine, and the files below $HOLT_SANDBOX_ROOT or else /var/lib/holt/sandboxes.
func TakeInventory() (Inventory, error) {
	var inv Inventory
	groups, err := findCgroups()
	if err != nil {
		return inv, err
	}
	root, err := rootFolder("")
	if err != nil {
		return inv, err
	}
	err = errors.Join(
		inv.addCgroups(groups),
		inv.addMounts(),
		inv.addLoops(),
		inv.addNetwork(),
		inv.addTables(),
		inv.addFiles(root),
	)
	if err != nil {
		return inv, err
	}
	on, err := os.ReadFile(forwardFile)
	inv.Forwarding = strings.TrimSpace(string(on))
	for _, list := range []*[]string{&inv.Processes, &inv.Namespaces, &inv.Mounts, &inv.Loops, &inv.Cgroups, &inv.Links,
		&inv.Addresses, &inv.Tables, &inv.Rules, &inv.Routes, &inv.Files} {
		slices.Sort(*list)
	}
	return inv, err
}

func (inv *Inventory) addCgroups(groups cgroups) error {
	for _, h := range groups {
		dirs, err := h.subtree(cgroupTop)
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			inv.Cgroups = append(inv.Cgroups, dir)
			procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			if err != nil && !isGone(err) {
				return err
			}
			for _, pid := range strings.Fields(string(procs)) {
				inv.Processes = append(inv.Processes, pid+" "+dir)
			}
		}
	}
	return nil
}

func (inv *Inventory) addMounts() error {
	mounts, err := mountinfo.GetMounts(nil)
	for _, m := range mounts {
		inv.Mounts = append(inv.Mounts, m.Mountpoint+" "+m.FSType+" "+m.Source)
	}
	return err
}

func (inv *Inventory) addLoops() error {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range files {
		behind, err := os.ReadFile(file)
		if isGone(err) {
			continue
		}
		if err != nil {
			return err
		}
		device := filepath.Base(filepath.Dir(filepath.Dir(file)))
		inv.Loops = append(inv.Loops, device+" "+strings.TrimSpace(string(behind)))
	}
	return err
}

func (inv *Inventory) addNetwork() error {
	names, err := os.ReadDir(netnsFolder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, n := range names {
		inv.Namespaces = append(inv.Namespaces, n.Name())
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("listing links: %w", err)
	}
	for _, l := range links {
		inv.Links = append(inv.Links, l.Attrs().Name+" "+l.Type())
	}
	addrs, err := netlink.AddrList(nil, unix.AF_UNSPEC)
	if err != nil {
		return fmt.Errorf("listing addresses: %w", err)
	}
	for _, a := range addrs {
		inv.Addresses = append(inv.Addresses, a.IPNet.String())
	}
	rules, err := netlink.RuleList(unix.AF_UNSPEC)
	if err != nil {
		return fmt.Errorf("listing rules: %w", err)
	}
	for _, r := range rules {
		inv.Rules = append(inv.Rules, r.String())
	}
	routes, err := netlink.RouteListFiltered(unix.AF_UNSPEC, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("listing routes: %w", err)
	}
	for _, r := range routes {
		inv.Routes = append(inv.Routes, r.String())
	}
	return nil
}

func (inv *Inventory) addTables() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("opening nftables: %w", err)
	}
	tables, err := conn.ListTables()
	if err != nil {
		return fmt.Errorf("listing nftables tables: %w", err)
	}
	for _, t := range tables {
		inv.Tables = append(inv.Tables, fmt.Sprintf("%d %s", t.Family, t.Name))
	}
	return nil
}

func (inv *Inventory) addFiles(root string) error {
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		inv.Files = append(inv.Files, path)
		return err
	})
}
