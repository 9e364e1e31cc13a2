// Package garbage deletes objects whose owners are gone, and carries out the propagation policies of deletions.
//
// An object is garbage when it has owners and none of them exists any more, by UID. An owner that is being deleted
// with the finalizer foregroundDeletion waits for its blocking dependents, which are deleted first; one with the
// finalizer orphan waits until its dependents have forgotten it.
//
// The package is pure: New returns a controller that holds no state. The owner index of the store is its graph.
package garbage
