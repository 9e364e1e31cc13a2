// Package network gives pods their links and addresses, and nodes the routes to each other's pods.
//
// A pod's link is a veth pair, point to point and without a bridge, so that every packet of a pod passes
// the node's IP stack:
//
//	pod namespace                     node namespace
//	eth0  POD/32  ------- veth ------ holtXXXXXXXXXXX  169.254.1.1/32
//	default via 169.254.1.1           POD/32 dev holtXXXXXXXXXXX src NODE
//
// The node owns the whole service range ("local SERVICE_CIDR dev lo"), so that a proxy can listen on any
// ClusterIP. Sockets that dial from a pod's address (IP_TRANSPARENT) get their answers through one nftables
// rule, which marks what belongs to such a socket, one policy rule and one route:
//
//	nft  inet holt prerouting: socket transparent 1 meta mark set 1
//	rule fwmark 1 lookup 100;  table 100: local default dev lo
//
// Other nodes' pod subnets are plain routes where the nodes share a network, and routes over one VXLAN
// device where they do not. Its neighbours are known beforehand (a node's VXLAN address and MAC follow from
// its own), so nothing is learned and nothing floods. Only IPv4 is carried.
//
// Invariants:
//
//   - An address is written to the state folder before a link carries it, and given back only after the link
//     is gone. Addresses go round-robin, so that a late packet meets nobody for as long as possible.
//   - Packets that come from a pod's link with an address that is not the pod's are dropped.
//   - A pod subnet's addresses without a pod are unreachable, and never leave by the default route.
//   - Every route and rule made here carries the protocol number 72, and every link's name begins with "holt"
//     or is "vx-holt": Sweep and Teardown know what is theirs without a record.
//   - Every operation may be repeated, also after a crash in its middle.
//
// Inside, each concern has a type of its own: leases (which pod has which address, on the disk), links, routes,
// overlay and filter change one kind of thing each through node, the descriptors of the namespace; peering decides
// how other nodes are reached. Network holds them side by side, and its mutex guards them all: none locks itself.
//
// Nothing external is executed. All methods of Network may be called concurrently.
package network
