// Package simulate runs clusters of real servers in virtual time: hashicorp/raft, consensus.Node with its transport, and
// fsm.Store are those of a release; the network, the disks and the clock are not.
//
//	schedule (from a seed) -> faults -> network, disks, processes
//	clients, readers, watchers -> consensus.Node of each server -> history
//	disks, stores -> history -> a model of the store that shares no code with it
//
// One Run is a cluster of 3 or 5 servers for some simulated minutes inside a testing/synctest bubble. Its schedule of
// faults is made from the seed and printed; which goroutine runs first, and the library's random timeouts, are not from
// the seed, so a seed that fails once may pass the next time: run it several times.
//
// What holds after every step, or is a violation:
//
//   - A term has one leader. An entry of one index and term is the same on all disks, and so is all before it.
//   - What a server applies is the committed entry of that index, and its digest is then the model's.
//   - A result that a client was told of is the model's; what was refused is in no log; nothing is applied twice.
//   - A linearizable read shows everything that any client knew when it began.
//   - A watch sees each event of its resource once and in order, also when it goes on at another server, or it ends
//     with fsm.ErrCompacted.
//   - A leader's services start with everything acknowledged in their view.
//   - No server ends its process except because of its disk, and each one that was down starts again.
//   - When all faults have ended, a write succeeds soon, and all servers show the same soon.
//
// What the network does is what TCP does: a stream stalls, breaks, or goes half-open; what was sent arrives late, after
// its sender has given up and sent it again on another connection. Whole requests also arrive twice, late, because a
// sender may repeat them. Disks keep what was synced; of what was not, a power cut leaves a beginning, and the
// transaction that was being written is there or not, as with bbolt. A process that is killed loses nothing that it wrote.
// Not simulated: a process that stands still while time goes on (SIGSTOP), since goroutines cannot be stopped, and wrong
// clocks, because nothing here reads the wall clock.
//
// Concurrency: Run may be called by several goroutines, each with its own *testing.T. Inside, no mutex is held across a
// wait: virtual time stands still while a goroutine waits for a mutex.
package simulate
