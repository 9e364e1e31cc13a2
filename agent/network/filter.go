package network

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	tableName = "holt"

	// Offsets of the addresses in an IPv4 header (RFC 791).
	offsetSource      = 12
	offsetDestination = 16
)

// filter is the node's nftables table.
type filter struct {
	ns                                netns.NsHandle
	podCIDR, clusterCIDR, serviceCIDR netip.Prefix
}

func (f *filter) open() (*nftables.Conn, *nftables.Table, error) {
	c, err := nftables.New(nftables.WithNetNSFd(int(f.ns)))
	if err != nil {
		return nil, nil, fmt.Errorf("open nftables: %w", err)
	}
	return c, &nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}, nil
}

// install replaces our table in one transaction, so that no packet sees it half made.
func (f *filter) install() error {
	c, table, err := f.open()
	if err != nil {
		return err
	}
	c.AddTable(table) // so that there is one to delete
	c.DelTable(table)
	c.AddTable(table)
	prerouting := c.AddChain(&nftables.Chain{
		Name: "prerouting", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: prerouting, Exprs: dropForged()})
	c.AddRule(&nftables.Rule{Table: table, Chain: prerouting, Exprs: markTransparent()})
	postrouting := c.AddChain(&nftables.Chain{
		Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: postrouting, Exprs: f.masquerade()})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("install the nftables table %s: %w", tableName, err)
	}
	return nil
}

func (f *filter) remove() error {
	c, table, err := f.open()
	if err != nil {
		return err
	}
	c.AddTable(table)
	c.DelTable(table)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove the nftables table %s: %w", tableName, err)
	}
	return nil
}

// dropForged drops what a pod sends from an address that is not its own: the route back to the source would
// not be the link that it came in by.
func dropForged() []expr.Any {
	return append(onlyIPv4(),
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte(linkPrefix)},
		&expr.Fib{Register: 1, FlagSADDR: true, FlagIIF: true, ResultOIF: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
		&expr.Verdict{Kind: expr.VerdictDrop},
	)
}

// markTransparent marks what belongs to a socket that speaks with a pod's address.
func markTransparent() []expr.Any {
	return []expr.Any{
		&expr.Socket{Key: expr.SocketKeyTransparent, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{1}},
		&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint32(Mark)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
	}
}

// masquerade gives the node's address to pods that talk to what is neither pod nor service.
func (f *filter) masquerade() []expr.Any {
	rule := onlyIPv4()
	rule = append(rule, matchPrefix(offsetSource, f.podCIDR, expr.CmpOpEq)...)
	rule = append(rule, matchPrefix(offsetDestination, f.clusterCIDR, expr.CmpOpNeq)...)
	rule = append(rule, matchPrefix(offsetDestination, f.serviceCIDR, expr.CmpOpNeq)...)
	return append(rule, &expr.Masq{})
}

func onlyIPv4() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}},
	}
}

func matchPrefix(offset uint32, p netip.Prefix, op expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: net.IPv4len},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: net.IPv4len,
			Mask: net.CIDRMask(p.Bits(), 32), Xor: make([]byte, net.IPv4len),
		},
		&expr.Cmp{Op: op, Register: 1, Data: p.Addr().AsSlice()},
	}
}
