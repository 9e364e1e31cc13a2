// Package consensus makes the servers of a cluster agree on one log of commands and applies it to each server's
// fsm.Store. It wraps hashicorp/raft, a bbolt log and snapshot files.
//
//	Propose -> queue -> one entry at a time -> raft (fsync on a majority) -> fsm.Store.Apply -> results
//	Linearize -> read index of the leader, confirmed by a majority -> local store applied that far
//
// Invariants:
//
//   - What Propose acknowledged is on the disks of a majority. ErrNotLeader, ErrOverloaded, ErrTooLarge and
//     ErrNoQuorum promise that the ops were not and will not be applied; ErrUnknownOutcome promises nothing.
//   - After Linearize the local store shows every write that any client was told of before the call.
//   - Ops that arrive while an entry is in flight travel together in the next one, each with its own result.
//   - Servers at the same entry have the same state. Each compares its digest with the others' in the background; one
//     that differs from a majority ends through Config.Fatal, and its folder is not opened again.
//   - A log that cannot be written or read ends the process through Config.Fatal: never go on, never diverge.
//   - Every wait has a deadline: the caller's, or Timing.Request. The library's futures may never come.
//   - To raft a server is its name and its disk: see incarnation. A vote or an acknowledgement comes from the disk that
//     the configuration names, or not at all.
//   - Servers of different lineages exchange neither votes, entries nor indexes.
//   - Tend changes one member at a time, and never leaves fewer live voters than a majority of those before.
//   - Being leader is a function: Lead calls its services after everything committed is applied, cancels their
//     context on loss, and joins them before it calls them again.
//
// The library is code in our scope. What it gets wrong, this package corrects on the way in and out:
//
//   - A follower commits up to min(leader's commit, its own last index), where the paper says the last entry of
//     that message; a stale tail would be applied. transport lowers the leader's commit in each message.
//   - A snapshot that was held up on its way turns the state back when it arrives, and the process ends in a panic over
//     entries that are no longer in the log. It is answered, and not installed (outdated.go).
//   - Entries behind the end of a server's own snapshot are refused as soon as it has later ones, and the leader goes back
//     for ever. transport vouches for what is applied (outdated.go).
//   - A vote is refused to a candidate that the newest configuration lacks, committed or not. Two servers that each lack
//     the other would never elect anybody (votes.go).
//   - The fast path of heartbeats races the main loop (hashicorp/raft#695). transport takes no heartbeat handler.
//   - VerifyLeader counts answers to messages that were sent before it was called, so a leader that was paused
//     may believe what lay in its socket buffers. A majority is asked for its term instead (read.go).
//   - Once an answer in a pipeline fails, its sender and its reader may wait for each other for ever: that follower
//     gets heartbeats, but no entry. There is no pipeline; with group commit it would gain nothing.
//   - An interrupted transfer of leadership may leave a leader that refuses all writes (#696). handover does without it.
//   - Entries for a server that is down are tried ever less often, at last every 10 s. transport holds them until
//     the server answers heartbeats.
//   - A disk that hangs leaves the leader heart-beating and never replaced (#503). disk.Guard ends the process.
//   - A snapshot that conflicts with the log is sent for ever (#697), and one that is ahead of it leaves a gap. transport
//     puts the log in order (install.go).
//   - A snapshot that cannot be restored is sent for ever too. machine ends the process.
//
// Servers speak two protocols over one Transport, told apart by a connection's first byte: raft's own, and the
// questions of ask.go.
//
// A Node is its parts, each of which uses only those above it:
//
//	lifetime    joins the goroutines and bounds the waits of all others
//	leadership  who leads; Lead and its services
//	peers       questions to other servers
//	membership  the servers of the group: Join, Remove; stage and tender look after them, decide says what is to be done
//	reads       Linearize, and its index for followers
//	proposer    the queue of writes, and the loop that sends them
//	answerer    answers the peers of other servers, from reads
//	handover    gives leadership to another server
//	auditor     compares the state with the others'
//
// A Survivor is a server that is not running, from which a cluster that has lost its majority is recovered.
//
// Concurrency: every method of Node may be called by any goroutine. One Lead may run at a time.
package consensus
