// Package disk is what a server keeps for raft: the log, the votes and the snapshots.
//
//	raft -> Sealed (encryption) -> Guard (deadline, no second chance after an error) -> Storage (files; simulated in a test)
//
// Invariants:
//
//   - A write that fails, or does not end, ends the process through fatal: nobody knows what is on the disk
//     afterwards, and a leader that cannot write must not stay leader.
//   - What cannot be read back as it was written is ErrDamaged, never skipped. Commands carry a checksum from the
//     leader on (Entry), because bbolt has none over its data. The log's file is read as a whole before bbolt opens it
//     (checkPages), and snapshots have a checksum over what the library says about them.
//   - With Sealed no object is ever on the disk in plain text: every log entry of any type, and every snapshot, is sealed
//     for its own place (index, term, cluster), so that none can be changed, moved or taken from elsewhere. Only terms,
//     votes, and the members' names and addresses are readable.
//   - Each entry and each snapshot is sealed with one key of the ring, and names it. While keys change, some have the old
//     one and some the new one; Reseal rewrites the old ones in small batches between raft's writes. A crash at any
//     moment leaves everything readable with the ring's keys.
//
// Concurrency: as raft calls its stores; Entry and Check may be called by any goroutine.
package disk
