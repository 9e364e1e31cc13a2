package fault

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netns"

	"github.com/holt-project/holt/internal/sandbox"
)

// table is ours in the servers' namespaces.
var table = nftables.Table{Family: nftables.TableFamilyIPv4, Name: "torture"}

// A direction is a hook and where the peer's address is in the IPv4 header there (RFC 791).
type direction struct {
	name   string
	hook   *nftables.ChainHook
	offset uint32
}

var (
	incoming = direction{"input", nftables.ChainHookInput, 12}
	outgoing = direction{"output", nftables.ChainHookOutput, 16}
)

// part cuts a server off in part.
func (i *Injector) part(kind string, target sandbox.Host) (healing, error) {
	others, err := i.others(target.Name)
	if err != nil {
		return nil, err
	}
	gateway, err := i.cluster.Gateway()
	if err != nil {
		return nil, err
	}
	switch kind {
	case Isolate:
		err = drop(target.NetNS, others, incoming, outgoing)
	case OneWay:
		err = drop(target.NetNS, others, outgoing)
	case Bridge:
		err = drop(target.NetNS, others[:1], incoming, outgoing)
	case Deaf:
		err = drop(target.NetNS, []netip.Addr{gateway}, incoming, outgoing)
	default:
		err = fmt.Errorf("there is no fault of kind %q", kind)
	}
	return func(context.Context) error { return clearLinks(target.NetNS) }, err
}

// others are the addresses of the other servers.
func (i *Injector) others(than string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, s := range i.servers {
		if s.Name == than {
			continue
		}
		a, err := netip.ParseAddr(s.Address)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// drop makes a namespace's kernel drop what comes from peers or goes to them, in silence.
func drop(namespace string, peers []netip.Addr, directions ...direction) error {
	return inside(namespace, func(conn *nftables.Conn) error {
		ours := conn.AddTable(&table)
		for _, d := range directions {
			chain := conn.AddChain(&nftables.Chain{Name: d.name, Table: ours, Type: nftables.ChainTypeFilter,
				Hooknum: d.hook, Priority: nftables.ChainPriorityFilter})
			for _, peer := range peers {
				conn.AddRule(&nftables.Rule{Table: ours, Chain: chain, Exprs: []expr.Any{
					&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: d.offset, Len: 4},
					&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: peer.AsSlice()},
					&expr.Verdict{Kind: expr.VerdictDrop},
				}})
			}
		}
		return conn.Flush()
	})
}

// clearLinks removes what drop did. A host without power has no namespace, and no rules.
func clearLinks(namespace string) error {
	err := inside(namespace, func(conn *nftables.Conn) error {
		tables, err := conn.ListTablesOfFamily(table.Family)
		if err != nil {
			return err
		}
		for _, t := range tables {
			if t.Name == table.Name {
				conn.DelTable(t)
			}
		}
		return conn.Flush()
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// inside calls f with a connection to the nftables of a network namespace.
func inside(namespace string, f func(*nftables.Conn) error) error {
	ns, err := netns.GetFromPath(filepath.Join("/run/netns", namespace))
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns)))
	if err != nil {
		return err
	}
	return f(conn)
}
