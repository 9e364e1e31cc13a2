// Package disk is what a server keeps for raft: the log, the votes and the snapshots.
//
//	raft -> Guard (deadline, no second chance after an error) -> Storage (files; simulated ones in a test)
//
// Invariants:
//
//   - A write that fails, or does not end, ends the process through fatal: nobody knows what is on the disk
//     afterwards, and a leader that cannot write must not stay leader.
//   - What cannot be read back as it was written is ErrDamaged, never skipped. Commands carry a checksum from the
//     leader on (Entry), because bbolt has none over its data.
//
// Concurrency: as raft calls its stores; Entry and Check may be called by any goroutine.
package disk
