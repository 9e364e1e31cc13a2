package network

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeKey tells one of our routes from another.
type routeKey struct {
	table int
	dst   netip.Prefix
}

// installRoutes makes the routes that depend on the configuration alone, and removes those of an earlier one.
func (n *Network) installRoutes(lo int) error {
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	routes := []netlink.Route{
		// Without the source, a program on the node would dial a ClusterIP from that very ClusterIP.
		{LinkIndex: lo, Dst: ipnet(n.cfg.ServiceCIDR), Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST,
			Table: unix.RT_TABLE_LOCAL, Src: n.cfg.NodeIP.AsSlice()},
		{LinkIndex: lo, Dst: ipnet(all), Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Table: Table},
		// A packet to a pod that is gone must not leave by the default route; and a dial to it fails at once.
		{Dst: ipnet(n.cfg.PodCIDR), Type: unix.RTN_UNREACHABLE, Table: unix.RT_TABLE_MAIN},
	}
	keep := map[routeKey]bool{}
	for i := range routes {
		routes[i].Protocol = routeProtocol
		if err := n.nl.RouteReplace(&routes[i]); err != nil {
			return fmt.Errorf("route %s: %w", routes[i].Dst, err)
		}
		keep[keyOf(routes[i])] = true
	}
	return n.removeRoutes(func(r netlink.Route) bool {
		static := r.Type == unix.RTN_LOCAL || r.Type == unix.RTN_UNREACHABLE
		return !static || keep[keyOf(r)]
	})
}

func keyOf(r netlink.Route) routeKey {
	k := routeKey{table: r.Table, dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	if r.Dst != nil {
		if a, ok := netip.AddrFromSlice(r.Dst.IP.To4()); ok {
			bits, _ := r.Dst.Mask.Size()
			k.dst = netip.PrefixFrom(a, bits)
		}
	}
	return k
}

// ourRoutes lists the routes of all tables that carry our protocol number.
func (n *Network) ourRoutes() ([]netlink.Route, error) {
	filter := &netlink.Route{Protocol: routeProtocol, Table: unix.RT_TABLE_UNSPEC}
	routes, err := settled(func() ([]netlink.Route, error) {
		return n.nl.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return routes, nil
}

// removeRoutes removes our routes but those that keep (nil: none) wants.
func (n *Network) removeRoutes(keep func(netlink.Route) bool) error {
	routes, err := n.ourRoutes()
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range routes {
		if keep != nil && keep(r) {
			continue
		}
		if err := ignore(n.nl.RouteDel(&r), unix.ESRCH); err != nil {
			errs = append(errs, fmt.Errorf("remove the route %s: %w", r.Dst, err))
		}
	}
	return errors.Join(errs...)
}

func wayBack() *netlink.Rule {
	r := netlink.NewRule()
	r.Family = netlink.FAMILY_V4
	r.Priority = rulePriority
	r.Mark = Mark
	r.Table = Table
	r.Protocol = routeProtocol
	return r
}

func (n *Network) installRule() error {
	if err := ignore(n.nl.RuleAdd(wayBack()), unix.EEXIST); err != nil {
		return fmt.Errorf("route marked packets by table %d: %w", Table, err)
	}
	return nil
}

func (n *Network) removeRule() error {
	if err := ignore(n.nl.RuleDel(wayBack()), unix.ENOENT); err != nil {
		return fmt.Errorf("remove the rule for marked packets: %w", err)
	}
	return nil
}
