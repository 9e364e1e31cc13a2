package bugs

// Bug is one mistake.
type Bug uint8

// The mistakes, by where they are made.
const (
	none Bug = iota

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
	LibraryAlone

	// In server/consensus/disk, and in the disks of the simulator.
	VoteNotPersisted
	AckBeforeSync
	TruncationNotSynced
	SnapshotNotSynced
)

// All has the name of each bug, and what it does.
var All = []struct {
	Bug  Bug
	Name string
	Does string
}{
	{SkippedPrecondition, "skipped-precondition", "an update does not look at the revision that it requires"},
	{MapOrder, "map-order", "the ops of an entry are applied in the order of a map"},
	{DoubleApply, "double-apply", "an update in a long entry is applied twice"},
	{LostEvent, "lost-event", "an entry of several events publishes all but the last"},
	{DuplicateEvent, "duplicate-event", "an entry of several events publishes the last one twice"},
	{UncutWatch, "uncut-watch", "a watch goes on over a restored snapshot as if no event were missing"},
	{SnapshotLeavesOut, "snapshot-leaves-out", "a snapshot leaves out an object"},
	{RestoreKeepsOld, "restore-keeps-old", "a restored snapshot leaves the objects that it does not have"},
	{WrongIndexAfterRestore, "wrong-index-after-restore", "a restored state says that it has one entry more"},
	{StaleRead, "stale-read", "a leader answers reads without asking whether it leads still"},
	{ReadBeforeApplied, "read-before-applied", "a read does not wait until its index is applied"},
	{BarrierSkipped, "barrier-skipped", "a new leader does not wait for the entries of the old one"},
	{RefusedButSent, "refused-but-sent", "a write that was sent and timed out is said to be refused"},
	{NoCommitClamp, "no-commit-clamp", "the library alone: a follower commits its stale tail"},
	{HeartbeatFastPath, "heartbeat-fast-path", "the library alone: heartbeats race the main loop (hashicorp/raft#695)"},
	{OldSnapshotInstalled, "old-snapshot-installed", "the library alone: a late copy of a snapshot turns the state back"},
	{StrangersRefused, "strangers-refused", "the library alone: no vote for a server that a lost configuration lacks"},
	{LibraryAlone, "library-alone", "the four before, all at once"},
	{VoteNotPersisted, "vote-not-persisted", "a vote is not written"},
	{AckBeforeSync, "ack-before-sync", "an entry is acknowledged before it is synced"},
	{TruncationNotSynced, "truncation-not-synced", "a cut of the log's end is not synced"},
	{SnapshotNotSynced, "snapshot-not-synced", "the log behind a snapshot is cut before the snapshot is synced"},
}
