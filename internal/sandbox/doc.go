// Package sandbox runs a whole cluster on one Linux machine: its hosts are network namespaces.
//
//	machine ── holtbrN (10.88.N.1/24, a bridge) ──┬── eth0 of host server-1 (10.88.N.11)
//	                                             ├── eth0 of host server-2 (10.88.N.12)
//	                                             └── eth0 of host agent-1  (10.88.N.101)
//
// A host is a named network namespace (holt-SANDBOX-HOST), a cgroup (/holt/SANDBOX/HOST in every hierarchy), a
// folder (ROOT/SANDBOX/hosts/HOST with data, log and run) and one holt process with what it starts. There is no
// daemon: every command finds the state in the kernel and in ROOT/SANDBOX/sandbox.json.
//
// # Invariants
//
//   - sandbox.json is complete, and on disk, before the first thing that it names is made. So Down can remove what
//     an Up left behind that was killed at any moment; it never needs to know how far that Up came.
//   - The bridge is the claim on a sandbox's name and subnet: first made, under a lock of the whole machine, and
//     its alias holds the sandbox's folder. What another folder's bridge claims is never touched.
//   - Hosts reach what the machine reaches, masqueraded by the nftables table holt_SANDBOX. IP forwarding is on while a
//     sandbox exists and is put back by the last; the machine's own forwarding rules are not changed.
//   - A host's process is found by its cgroup and its command line, not by a recorded pid: pids are reused.
//   - Nothing is deleted below a folder while something is still mounted there: it could be the machine's.
//   - A host's process is born inside its namespace and cgroups; no moment exists in which it runs elsewhere.
//
// # Inside
//
// A Sandbox holds side by side what it consists of: the record (sandbox.json, as planned), the lan (bridge, cables,
// masquerading), the admin kubeconfig, and a host for each of the record's, which acts on its folder, cgroup, cable
// and process. The handle takes the locks; these types take none. A watch waits until started hosts serve.
//
// # Concurrency
//
// All functions and methods may be called from any goroutine and from any number of processes. Up and Down hold the
// sandbox's lock exclusively; the verbs on a host share it and hold their host's lock, so that verbs on different
// hosts run at the same time. A lock dies with its process. A caller that finds a lock taken waits for it until its
// context ends or half a minute has passed, and then gets ErrBusy. Hosts takes no lock.
//
// A process that calls Up or Start becomes the parent of the hosts' processes and reaps them; Down joins that.
package sandbox
