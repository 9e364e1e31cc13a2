// Package dns answers the names of Services on every node, and sends all other questions to the node's own
// resolvers. It also writes the resolv.conf of pods.
//
//	pod --> 10.43.0.10:53 (here, on the pod's own node) --> zone: an immutable view of Services
//	                                                   \--> upstreams of the node's resolv.conf
//
// What is answered follows the Kubernetes specification of DNS-based service discovery, version 1.1.0.
//
// # Invariants
//
//   - A zone is built as a whole from one Update and never changed; a question reads one zone.
//   - Names inside the cluster's domain, and addresses of pods and Services, are never asked upstream.
//   - An answer fits what its client can take, or says that it is truncated.
//   - Clients cannot make the server hold more than a fixed number of questions and connections.
//
// The wire format is github.com/miekg/dns, in server.go, wire.go and forward.go alone. Only IPv4 has records.
// All methods of Server may be called concurrently.
package dns
