// Command torture looks for broken promises: it runs three servers on this machine, lets clients read, write and watch
// on all of them while servers are killed, paused, cut off and run out of disk, and then checks everything that every
// client was told.
//
//	go run ./e2e/torture -for 10m              faults of all kinds for ten minutes
//	go run ./e2e/torture -rounds 50            all servers are killed at once, fifty times
//	go run ./e2e/torture -only pause -for 1m   faults of one kind
//	go run ./e2e/torture -seed 7 ...           the same schedule of faults again
//	go run ./e2e/torture -check FILE           judge the history of an earlier run again
//
// It prints the seed, what it does, what it counted, and every violation; then its exit code is 1, and it names the
// files that hold the history and porcupine's pages. docs/proof.md says what is checked.
package main
