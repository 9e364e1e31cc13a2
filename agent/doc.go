// Package agent is a worker: it runs the pods that are bound to its node, carries service traffic, and answers the
// cluster's names. It only wires the packages below it.
//
//	API -> caches -> pods (shim, image, network) -> status -> API
//	            \--> proxy, dns, routes to other nodes
//
// An agent is a client of the public API with its node's identity; it knows nothing of Raft. Its pods outlive it: an
// agent that ends or is killed leaves them running, and finds them again. Run may be called once per process and data
// folder.
package agent
