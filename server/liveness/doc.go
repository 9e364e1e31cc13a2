// Package liveness turns what gossip knows into what the cluster is told about nodes.
//
//	gossip: agent gone -> Ready=Unknown and taints unreachable -> pods evicted (controllers/nodelifecycle)
//	gossip: agent back -> taints removed; the agent itself reports Ready again
//
// It writes only when something changes: an idle cluster writes nothing. A node that was never seen is given a grace
// period after this server began to lead, so that neither a restart of all servers nor a change of leader evicts
// anybody. A node that gossip does not know at all, such as a virtual one, lives as long as it renews its Lease.
//
// New returns a controller; what it knows of gossip comes through the function that it is given.
package liveness
