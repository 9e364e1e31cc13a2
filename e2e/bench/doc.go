// Command bench measures a cluster of 3 servers and 2 agents on this machine and prints a small table: how long a start
// takes, a pod, the loss of the leader and of a worker, and what idle processes weigh.
//
//	go run ./e2e/bench                     all of it, each loss three times
//	go run ./e2e/bench -runs 10 -only leader
//
// Every figure is taken from outside, as a client sees it. The hosts share the machine's cores and one disk, so figures
// of a busy machine say little; the table begins with what the machine is. The cluster is removed at the end, also when
// bench is interrupted.
package main
