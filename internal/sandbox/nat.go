package sandbox

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	forwardFile = "/proc/sys/net/ipv4/ip_forward"
	tablePrefix = "holt_"
	// forwardMark is an empty chain in the tables of those sandboxes that need ip_forward on a machine that had it
	// off. The last of them to go puts it back to off. The mark is in the kernel, not in a file, so that it counts
	// sandboxes of all folders and is forgotten by a reboot together with ip_forward itself.
	forwardMark = "restore_ip_forward"
)

// setForwarding lets the sandbox's hosts reach what the machine reaches, under the machine's address. The machine's
// own forwarding rules stay as they are; one that drops by default keeps the hosts in. The machine's lock must be held.
func (l lan) setForwarding() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("opening nftables: %w", err)
	}
	marked, err := markedTables(conn)
	if err != nil {
		return err
	}
	on, err := forwarding()
	if err != nil {
		return err
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: tablePrefix + l.sandbox})
	chain := conn.AddChain(&nftables.Chain{
		Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: masquerade(l.subnet, l.bridge)})
	if !on || len(marked) > 0 {
		conn.AddChain(&nftables.Chain{Name: forwardMark, Table: table})
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("making the nftables table %s: %w", table.Name, err)
	}
	if on {
		return nil
	}
	return writeForwarding("1")
}

// unsetForwarding undoes setForwarding, also half of one. The machine's lock must be held.
func (l lan) unsetForwarding() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("opening nftables: %w", err)
	}
	marked, err := markedTables(conn)
	if err != nil {
		return err
	}
	name := tablePrefix + l.sandbox
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return fmt.Errorf("listing nftables tables: %w", err)
	}
	if len(marked) == 1 && marked[0] == name {
		// Before the mark goes, so that a kill in between leaves the mark for the next try.
		if err := writeForwarding("0"); err != nil {
			return err
		}
	}
	for _, t := range tables {
		if t.Name == name {
			conn.DelTable(t)
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("removing the nftables table %s: %w", name, err)
	}
	return nil
}

func markedTables(conn *nftables.Conn) ([]string, error) {
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, fmt.Errorf("listing nftables chains: %w", err)
	}
	var marked []string
	for _, c := range chains {
		if c.Name == forwardMark && strings.HasPrefix(c.Table.Name, tablePrefix) {
			marked = append(marked, c.Table.Name)
		}
	}
	return marked, nil
}

// masquerade is: oifname != BRIDGE ip saddr SUBNET ip daddr != SUBNET masquerade. On a machine that shows bridged
// frames to nftables, what goes from host to host for a pod comes by here too, and keeps its address.
func masquerade(subnet netip.Prefix, bridge string) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, bridge)
	network := subnet.Masked().Addr().AsSlice()
	mask := binaryutil.BigEndian.PutUint32(^uint32(0) << (32 - subnet.Bits()))
	match := func(offset uint32, op expr.CmpOp) []expr.Any {
		return []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
			&expr.Cmp{Op: op, Register: 1, Data: network},
		}
	}
	const sourceOffset, destinationOffset = 12, 16 // of the IPv4 header, RFC 791
	outside := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: name},
	}
	return slices.Concat(outside, match(sourceOffset, expr.CmpOpEq), match(destinationOffset, expr.CmpOpNeq),
		[]expr.Any{&expr.Masq{}})
}

func forwarding() (bool, error) {
	b, err := os.ReadFile(forwardFile)
	if err != nil {
		return false, err
	}
	return strings.TrimSpace(string(b)) != "0", nil
}

func writeForwarding(value string) error {
	if err := os.WriteFile(forwardFile, []byte(value), 0); err != nil {
		return fmt.Errorf("setting IP forwarding: %w", err)
	}
	return nil
}
