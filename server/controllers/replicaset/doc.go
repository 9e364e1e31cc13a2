// Package replicaset keeps as many pods of a ReplicaSet as it asks for.
//
// The plan for one ReplicaSet claims its pods, creates what is missing, deletes what is too many (those whose loss
// hurts least first, in the order that Kubernetes documents), and writes the status when it changed. Pods that
// terminate do not count: their replacements start at once.
//
// The package is pure: New returns a controller that holds no state.
package replicaset
