// Package fault does to a sandbox's servers what happens to real ones: it kills, pauses and parts them, fills a disk,
// and lets leadership change hands.
//
//	Schedule    a seed -> an endless sequence of steps, each one fault or several at once; always the same
//	Injector    carries out one step after the other, undoes each, and says what it did
//	links       nftables rules in the servers' network namespaces
//
// One server's data folder is on a disk of its own (harness.Disk), which a ballast file fills.
//
// A step ends with everything undone and every server started, so a step never has to know what came before it. What a
// fault strikes, the leader for one, is looked up when it strikes: a schedule is repeatable, a run is not.
//
// An Injector belongs to one goroutine; it joins those that it starts.
package fault
