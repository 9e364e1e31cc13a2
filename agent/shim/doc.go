// Command holt-shim owns the containers of one pod and outlives the agent.
//
// It is small, static and separate from holt, which is pure Go: libcontainer
// needs cgo, to enter namespaces before the Go runtime has threads and for
// seccomp. Holt carries it inside (package binary), writes it out, and talks to
// it (package client) in the words of package protocol.
//
//	holt-shim launch DIR   starts "serve" apart from the caller; returns when it is ready
//	holt-shim serve DIR    owns the pod that DIR/pod.json describes
//	holt-shim init         the first moments of a container; started by libcontainer
//	holt-shim version
//
// Invariants:
//   - A shim serves one pod, in the pod's folder, and ends with it.
//   - When a shim dies its containers die. The kernel kills their first processes
//     (parent-death signal); whatever escapes that, by changing its user, is
//     found in the pod's cgroup by client.Cleanup.
package main
