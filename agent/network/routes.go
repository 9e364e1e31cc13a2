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

// routes are the node's routes and its one policy rule.
type routes struct {
	node                 *node
	podCIDR, serviceCIDR netip.Prefix
}

// install makes the routes that depend on the configuration alone, and removes those of an earlier one.
func (rs *routes) install(lo int) error {
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	fixed := []netlink.Route{
		// Without the source, a program on the node would dial a ClusterIP from that very ClusterIP.
		{LinkIndex: lo, Dst: ipnet(rs.serviceCIDR), Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST,
			Table: unix.RT_TABLE_LOCAL, Src: rs.node.ip.AsSlice()},
		{LinkIndex: lo, Dst: ipnet(all), Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Table: Table},
		// A packet to a pod that is gone must not leave by the default route; and a dial to it fails at once.
		{Dst: ipnet(rs.podCIDR), Type: unix.RTN_UNREACHABLE, Table: unix.RT_TABLE_MAIN},
	}
	keep := map[routeKey]bool{}
	for i := range fixed {
		fixed[i].Protocol = routeProtocol
		if err := rs.node.nl.RouteReplace(&fixed[i]); err != nil {
			return fmt.Errorf("route %s: %w", fixed[i].Dst, err)
		}
		keep[keyOf(fixed[i])] = true
	}
	return rs.removeAllBut(func(r netlink.Route) bool {
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

// ours lists the routes of all tables that carry our protocol number.
func (rs *routes) ours() ([]netlink.Route, error) {
	mine := &netlink.Route{Protocol: routeProtocol, Table: unix.RT_TABLE_UNSPEC}
	routes, err := settled(func() ([]netlink.Route, error) {
		return rs.node.nl.RouteListFiltered(netlink.FAMILY_V4, mine, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return routes, nil
}

// removeAllBut removes our routes but those that keep (nil: none) wants.
func (rs *routes) removeAllBut(keep func(netlink.Route) bool) error {
	have, err := rs.ours()
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range have {
		if keep != nil && keep(r) {
			continue
		}
		if err := ignore(rs.node.nl.RouteDel(&r), unix.ESRCH); err != nil {
			errs = append(errs, fmt.Errorf("remove the route %s: %w", r.Dst, err))
		}
	}
	return errors.Join(errs...)
}

// reconcile changes our routes to other nodes, which are those with a gateway, into wanted.
func (rs *routes) reconcile(wanted map[routeKey]*netlink.Route) error {
	have, err := rs.ours()
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range have {
		if r.Gw == nil {
			continue
		}
		w, ok := wanted[keyOf(r)]
		switch {
		case !ok:
			if err := ignore(rs.node.nl.RouteDel(&r), unix.ESRCH); err != nil {
				errs = append(errs, fmt.Errorf("remove %s: %w", r.Dst, err))
			}
		case r.Gw.Equal(w.Gw) && (w.LinkIndex == 0 || w.LinkIndex == r.LinkIndex):
			delete(wanted, keyOf(r))
		}
	}
	for key, w := range wanted {
		if err := rs.node.nl.RouteReplace(w); err != nil {
			errs = append(errs, fmt.Errorf("%s over %s: %w", key.dst, w.Gw, err))
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

func (rs *routes) installRule() error {
	if err := ignore(rs.node.nl.RuleAdd(wayBack()), unix.EEXIST); err != nil {
		return fmt.Errorf("route marked packets by table %d: %w", Table, err)
	}
	return nil
}

func (rs *routes) removeRule() error {
	if err := ignore(rs.node.nl.RuleDel(wayBack()), unix.ENOENT); err != nil {
		return fmt.Errorf("remove the rule for marked packets: %w", err)
	}
	return nil
}
