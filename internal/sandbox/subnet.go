package sandbox

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// pickSubnet returns the first /24 of the pool that overlaps no address and no route of the machine and no
// sandbox's record, and whose links' names are free. The machine's lock must be held until the bridge is there.
func pickSubnet(root string, pool netip.Prefix) (index int, subnet netip.Prefix, err error) {
	taken, err := takenPrefixes(root)
	if err != nil {
		return 0, subnet, err
	}
	links, err := netlink.LinkList()
	if err != nil {
		return 0, subnet, fmt.Errorf("listing links: %w", err)
	}
	names := map[string]bool{}
	for _, l := range links {
		names[l.Attrs().Name] = true
	}
	base := pool.Addr().As4()
	for i := range 1 << (24 - pool.Bits()) {
		third := int(base[2]) + i
		candidate := netip.PrefixFrom(netip.AddrFrom4([4]byte{base[0], base[1], byte(third), 0}), 24)
		if names[bridgeName(third)] || overlapsAny(candidate, taken) {
			continue
		}
		return third, candidate, nil
	}
	return 0, subnet, fmt.Errorf("every /24 of %s is in use by the machine's addresses, routes or sandboxes: "+
		"remove a sandbox (holt down --name NAME) or choose another pool (--subnet-pool)", pool)
}

func overlapsAny(p netip.Prefix, taken []netip.Prefix) bool {
	for _, t := range taken {
		if p.Overlaps(t) {
			return true
		}
	}
	return false
}

func takenPrefixes(root string) ([]netip.Prefix, error) {
	var taken []netip.Prefix
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	for _, a := range addrs {
		taken = appendPrefix(taken, a.IPNet)
		if a.Peer != nil {
			taken = appendPrefix(taken, a.Peer)
		}
	}
	// All tables, not only main: policy routes and VPNs use their own.
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	for _, r := range routes {
		taken = appendPrefix(taken, r.Dst)
	}
	records, err := filepath.Glob(filepath.Join(root, "*", recordFile))
	if err != nil {
		return nil, err
	}
	for _, file := range records {
		r, err := readRecord(filepath.Dir(file))
		if err != nil {
			// Just removed, or damaged: then what it has in the kernel reserves enough.
			continue
		}
		taken = append(taken, r.Subnet)
	}
	return taken, nil
}

// appendPrefix leaves default routes out: they overlap everything and reserve nothing.
func appendPrefix(list []netip.Prefix, n *net.IPNet) []netip.Prefix {
	if n == nil {
		return list
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	if !ok || bits == 0 {
		return list
	}
	return append(list, netip.PrefixFrom(addr.Unmap(), bits))
}
