// Package status turns what is known about a pod's containers into the status that the API shows.
//
// Facts are what a worker knows and keeps on the disk; Of is a pure function from a pod and its Facts to a
// PodStatus; Merge lays that over the status that the API has, which others write to as well.
//
// Invariants:
//   - A pod is Succeeded or Failed only when nothing of it runs any more and nothing will (Facts.Final).
//   - A phase that is Succeeded or Failed in the API stays.
//   - Times have whole seconds, as on the wire, so that an equal status compares equal after a round trip.
//   - Conditions, reasons and fields that are not the node's are kept as they are.
//
// The functions hold no state and may be called concurrently; a Facts belongs to one goroutine.
package status
