// Package consensustest makes clusters of real consensus for the tests of what is built on it: files in the test's
// folder, loopback TCP, and no faults. The tests of consensus itself have a harness of their own, which has.
//
// Everything ends with the test. A Cluster may be used by any goroutine.
package consensustest
