// Package nodeipam gives every node a subnet of the cluster's range for its pods.
//
// A node keeps its subnet for life. The lowest free one is taken; two nodes that ask in the same moment cannot get the
// same one, because one plan serves all nodes.
//
// The package is pure: New returns a controller that holds no state.
package nodeipam
