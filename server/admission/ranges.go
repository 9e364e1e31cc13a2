package admission

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// addressRange is the set of addresses of a prefix that Services may have, numbered from zero. The network's own
// address and, for IPv4, its broadcast address are not among them.
type addressRange struct {
	prefix netip.Prefix
	size   uint64
}

// maxAddresses bounds the search in a wide (IPv6) range.
const maxAddresses = 1 << 20

func newAddressRange(p netip.Prefix) addressRange {
	p = p.Masked()
	bits := p.Addr().BitLen() - p.Bits()
	size := uint64(maxAddresses)
	if bits < 20 {
		size = 1 << bits
	}
	lost := uint64(1)
	if p.Addr().Is4() {
		lost = 2
	}
	if size <= lost {
		return addressRange{prefix: p}
	}
	return addressRange{prefix: p, size: size - lost}
}

// at returns address number i: the network's address plus i plus one.
func (r addressRange) at(i uint64) netip.Addr {
	b := r.prefix.Addr().As16()
	low := binary.BigEndian.Uint64(b[8:])
	binary.BigEndian.PutUint64(b[8:], low+i+1)
	a := netip.AddrFrom16(b)
	if r.prefix.Addr().Is4() {
		return a.Unmap()
	}
	return a
}

// contains reports whether a may be asked for.
func (r addressRange) contains(a netip.Addr) bool {
	return r.prefix.Contains(a) && a != r.prefix.Addr() && (!a.Is4() || a != r.at(r.size))
}

// PortRange is a range of ports, both ends included.
type PortRange struct{ First, Last int32 }

// DefaultNodePorts is Kubernetes' range of node ports.
var DefaultNodePorts = PortRange{30000, 32767}

func (r PortRange) contains(p int32) bool { return p >= r.First && p <= r.Last }

// scan calls free with the numbers below n, each once, from a random start, until it returns true. The start is random
// so that an address which was just given up is not handed to the next Service at once.
func scan(n uint64, free func(i uint64) bool) bool {
	if n == 0 {
		return false
	}
	start := rand.Uint64N(n)
	for i := range n {
		if free((start + i) % n) {
			return true
		}
	}
	return false
}
