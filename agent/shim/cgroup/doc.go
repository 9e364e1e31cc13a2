// Package cgroup finds, joins, watches, kills and removes control groups, on
// cgroup v1 (any number of mounted hierarchies), on v2, and on both at once.
//
// It does what must also work from outside the shim, when the shim that owned
// a group is dead: it needs neither libcontainer nor cgo. Limits are not set
// here; libcontainer does that when it makes a container's group.
//
// Invariants:
//   - A group is named by its path below the root of every hierarchy, such as
//     /holt/pods/UID. The same path is used in all of them.
//   - A process found in any one hierarchy below a group belongs to it.
//   - Every operation can be repeated; a group that is not there is not an error.
//
// A Group is immutable and may be used by any number of goroutines.
package cgroup
