// Package controllertest runs control loops in tests: over a real store, through the real writer, in virtual time.
//
// A Cluster is a store with all kinds and a Proposer that applies to it at once. Step plans every dirty key of a
// controller once, as the harness would; Settle steps all controllers until nothing changes any more, and fails the test
// if that never comes. Time stands still unless the test moves it, so a test must run in a testing/synctest bubble when
// time matters. Kubelet plays the nodes.
//
// A Cluster belongs to one goroutine.
package controllertest
