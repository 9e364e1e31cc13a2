// Package proxy carries the traffic of Services: it listens on their own addresses and relays each connection
// to a backend, in user space, without NAT, connection tracking or a rule per Service.
//
//	client pod --> ClusterIP:port (a listener here) --relay, splice--> backend pod
//	                                 from the client's own address
//
// The node owns the service range and brings answers to transparent sockets back (package network); this
// package needs both to be in place.
//
// # Invariants
//
//   - What is listened on follows from the last Update alone. An address without a usable backend has no
//     listener, so the kernel refuses its clients at once.
//
//   - The backends of a listener are an immutable list behind one atomic pointer. A new connection goes to
//     the newest list; an existing one keeps its backend until either side ends it.
//
//   - A client's bytes reach at most one backend: others are tried only while no connection is made.
//
//   - The client's address is kept wherever the answers come back through this node (see keepsClient).
//
//   - A relay ends on one side as on the other: an orderly end is passed on as such, per direction; anything
//     else becomes a reset, so that a cut-off answer never looks complete.
//
//   - Loopback, link-local (which has the clouds' metadata), multicast and service addresses are never dialled;
//     nodes' addresses only for pods in the host's network and for default/kubernetes (CVE-2021-25737).
//
//   - A UDP client keeps its backend until a minute passes without a datagram or the backend leaves the set.
//
// TCP and UDP over IPv4 are carried. Update, Run and Close may be called concurrently.
package proxy
