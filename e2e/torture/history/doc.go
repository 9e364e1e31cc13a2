// Package history is what a torture run records: every request of every client with its answer, and everything that
// every watcher was told. The package check judges it.
//
// All times are since the run's begin, by one monotonic clock: the clients are goroutines of one process, so their
// times can be compared. Every write carries a token that no other write has, so whoever sees a content knows who
// wrote it.
//
// A Recorder may be used by any goroutine. A History is complete when nothing is recorded any more, and is not changed
// after that.
package history
