// Package pods makes the pods of a node run: desired pods come from the API, observed ones from their shims, and
// one worker per pod closes the gap.
//
//	         first seen
//	             |
//	live:  sandbox (shim, link, files) -> init containers -> containers, restarted by policy
//	             |  deleted, removed, evicted, or its work is over
//	stopping:  signal, grace, SIGKILL
//	             |  nothing runs
//	released:  no shim, link or mount; the last status is in the API, then the object is deleted
//	             |  the object is gone
//	forgotten: no file is left, and no worker
//
// A worker only moves forward. Each of its steps does one thing and may be repeated: what must be found again is on
// the disk before it is done, so the agent may die anywhere.
//
// # Files
//
//	DataDir/pods/UID/record.json   what the worker knows (package status: Facts), written atomically
//	DataDir/pods/UID/c/ID          a container's root file system and what it wrote
//	DataDir/pods/UID/etc           hosts, hostname and resolv.conf
//	DataDir/pods/UID/volumes       emptyDir, configMap and secret volumes; shm, the shared /dev/shm
//	RunDir/pods/UID                the shim's folder
//	LogDir/NAMESPACE_NAME_UID/CONTAINER/ATTEMPT.log
//
// # Invariants
//
//   - A pod is its UID: a pod made again under its name is another one.
//   - Containers do not notice the agent's end or start. Run returns without touching a pod that runs.
//   - A container that is lost with its shim has ended with exit code 137, and is restarted by policy in a new
//     sandbox.
//   - Work goes on without the API: statuses and deletions are repeated until they are through.
//   - The API's copy of the status is compared with the node's view whenever either changes, so an overwritten one
//     is put right.
//   - A pod's last status is in the API, and nothing of it runs or is mounted, before Cluster.Finish is called.
//
// # Concurrency
//
// Sync, Running and ContainerLog may be called at any time from anywhere; Run once. What is passed to New is called
// from many goroutines at once, but never twice at the same time for one pod.
package pods
