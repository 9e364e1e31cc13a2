// Package harness is what the e2e tests and the benchmarks share: the programs under test, a cluster of hosts with
// clients for it, load, and what is asked of a cluster while hosts are taken from it.
//
//	Cluster ── sandbox.Sandbox   its hosts: kill, start, cut, ...
//	        ├─ client.Client     the API, through all servers or through one
//	        ├─ Kubectl           the real kubectl, through a server that answers
//	        └─ Disk              a server's data folder on a disk of its own: full, hung, slow, read-only, without power
//
// Everything that waits does so for a condition and until the caller's context ends; the error then says what was
// seen last. Nothing here asserts: it reports, and tests and benchmarks judge.
//
// A Cluster and what it returns may be used by any goroutine. A Load and a Writer belong to their caller, who stops
// them; both join their goroutines when they stop. A Disk belongs to one goroutine.
package harness
