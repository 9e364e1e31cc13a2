// Package scheduler places pods on nodes.
//
//	view -> snapshot of nodes and what they hold -> for each pending pod: filter every node, score the rest, take the
//	best, and count the pod in before the next one -> bindings, written as one batch
//
// Every feasible node is examined; there is no sampling. A pod that fits nowhere says why, with the reasons counted
// over all nodes as Kubernetes does, and is looked at again when something changes that could help.
//
// The package is pure: New returns a controller that holds no state, and the same view gives the same plan.
package scheduler
