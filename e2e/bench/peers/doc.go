// Command peers gives the same work to Holt and to kube-apiserver with etcd, on this machine, one after the other, and
// prints theirs, ours, the ratio and whether it is what Holt promises.
//
//	go run ./e2e/bench/peers                      everything, three rounds: about a quarter of an hour
//	go run ./e2e/bench/peers -quick               one round of short measurements, for development
//	go run ./e2e/bench/peers -only write,get -servers 1 -rounds 5
//
// docs/benchmarks.md explains each row. The programs are bin/holt and those of bin/peers (`make build peers`). Their files
// are in a folder that is removed at the end, also when the command is interrupted.
package main
