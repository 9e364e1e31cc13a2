// Package record keeps small facts on disk so that they survive a crash: a file
// is either whole and old, or whole and new, and once Write has returned it is
// on the disk.
//
// Different files may be written by different goroutines at the same time; the
// writes of one file must follow each other.
package record
