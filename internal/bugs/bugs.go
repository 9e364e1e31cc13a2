package bugs

// Bug is one mistake.
type Bug uint8

// The mistakes, by where they are made.
const (
	_ Bug = iota // none

	// In fsm.
	SkippedPrecondition
	MapOrder
	DoubleApply
	LostEvent
	DuplicateEvent
	UncutWatch
	SnapshotLeavesOut
	RestoreKeepsOld
	WrongIndexAfterRestore

	// In server/consensus.
	StaleRead
	ReadBeforeApplied
	BarrierSkipped
	RefusedButSent
	NoCommitClamp
	HeartbeatFastPath
	OldSnapshotInstalled
	StrangersRefused
	OldLogKept
	LibraryAlone

	// In server/consensus/disk, and in the disks of the simulator.
	VoteNotPersisted
	AckBeforeSync
	TruncationNotSynced
	SnapshotNotSynced
)

// All has the name of each bug, and what it does. A rare one shows itself once in tens of simulated hours or never, since
// it needs what this project does not do (the library's own batches, for one): it has a test of its own instead.
var All = []struct {
	Bug  Bug
	Name string
	Does string
	Rare bool
}{
	{SkippedPrecondition, "skipped-precondition", "an update does not look at the revision that it requires", false},
	{MapOrder, "map-order", "the ops of an entry are applied in the order of a map", false},
	{DoubleApply, "double-apply", "an update in a long entry is applied twice", false},
	{LostEvent, "lost-event", "an entry of several events publishes all but the last", false},
	{DuplicateEvent, "duplicate-event", "an entry of several events publishes the last one twice", false},
	{UncutWatch, "uncut-watch", "a watch goes on over a restored snapshot as if no event were missing", false},
	{SnapshotLeavesOut, "snapshot-leaves-out", "a snapshot leaves out an object", false},
	{RestoreKeepsOld, "restore-keeps-old", "a restored snapshot leaves the objects that it does not have", false},
	{WrongIndexAfterRestore, "wrong-index-after-restore", "a restored state says that it has one entry more", false},
	{StaleRead, "stale-read", "a leader answers reads without asking whether it leads still", false},
	{ReadBeforeApplied, "read-before-applied", "a read does not wait until its index is applied", false},
	{BarrierSkipped, "barrier-skipped", "a new leader does not wait for the entries of the old one", false},
	{RefusedButSent, "refused-but-sent", "a write that was sent and timed out is said to be refused", false},
	{NoCommitClamp, "no-commit-clamp", "the library alone: a follower commits its stale tail", true},
	{HeartbeatFastPath, "heartbeat-fast-path", "the library alone: heartbeats race the main loop (hashicorp/raft#695)", true},
	{OldSnapshotInstalled, "old-snapshot-installed", "the library alone: a late copy of a snapshot turns the state back", true},
	{StrangersRefused, "strangers-refused", "the library alone: no vote for a server that a lost configuration lacks", true},
	{OldLogKept, "old-log-kept", "the library alone: an old log stays behind a snapshot (hashicorp/raft#697)", false},
	{LibraryAlone, "library-alone", "the five before, all at once", false},
	{VoteNotPersisted, "vote-not-persisted", "a vote is not written", false},
	{AckBeforeSync, "ack-before-sync", "an entry is acknowledged before it is synced", false},
	{TruncationNotSynced, "truncation-not-synced", "a cut of the log's end is not synced", false},
	{SnapshotNotSynced, "snapshot-not-synced", "the log behind a snapshot is cut before the snapshot is synced", false},
}
