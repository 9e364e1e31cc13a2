// Package deployment moves a Deployment's pods from one template to the next through ReplicaSets.
//
//	template -> hash -> new ReplicaSet;  old ReplicaSets shrink as the new one's pods become available
//
// The plan for one Deployment claims its ReplicaSets, makes or finds the one of the present template, scales old and
// new within maxSurge and maxUnavailable (or recreates), removes old revisions beyond the limit, and writes the
// status with its conditions. Each plan takes one step; the change that it causes wakes the next.
//
// The package is pure: New returns a controller that holds no state.
package deployment
