// Package fsm is the replicated state machine: every object of the cluster, and nothing else.
//
//	command (raft log) -> Apply -> new immutable state -> published to readers -> events to watchers
//
// Invariants:
//
//   - Apply is total and deterministic. It reads no clock, no randomness and no network: UIDs, names and
//     timestamps come inside the command. A failed precondition is a Result, not an error; an error means that
//     the log is corrupt and the caller must end the process rather than diverge.
//   - State is a persistent radix tree. A View is one root: reading it takes no lock and never changes.
//     Objects that come out of a View or an Event are shared and must never be mutated.
//   - The revision counts single changes and is identical on every server. It never goes down.
//   - Events are published after the state that contains them, in order, exactly once. A watcher that cannot
//     keep up is cut off with ErrCompacted; it never slows Apply.
//   - A restore goes through the log like everything else: Stage brings a snapshot piece by piece into the state, and
//     Replace exchanges the objects in one entry, all or nothing. What it restores gets new revisions, and it cuts all
//     watches, so no client takes what it has cached for what is there.
//   - An op that carries a request's ID is applied once at most: the outcomes of the last MaxOutcomes requests are part
//     of the state, of its digest and of its snapshots, and decide what becomes of an op whose request came before.
//     Which ones are remembered follows from the log alone.
//   - Memory is bounded: the objects by the Schema, which is the same on every server; outcomes by their number; events
//     and cached encodings, which each server keeps for itself, by Options. No bound makes Apply wait.
//   - Kinds are data: a Resource tells how to decode an object and which indexes it has. Adding a kind changes
//     nothing here.
//
// Concurrency: Apply and Restore are called by one goroutine (the consensus loop). Everything else may be called
// by any goroutine.
package fsm
