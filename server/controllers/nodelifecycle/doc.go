// Package nodelifecycle decides what becomes of pods whose node is lost, tainted or gone.
//
// The plan for one pod marks it not ready when its node is lost, deletes it when it does not tolerate a NoExecute
// taint any longer, and removes it for good when its node no longer exists or when it never had one and is being
// deleted. While no node at all is ready, nothing is evicted: then it is the network, or us.
//
// The package is pure: New returns a controller that holds no state.
package nodelifecycle
