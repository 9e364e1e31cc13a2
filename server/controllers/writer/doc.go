// Package writer carries out the changes that control loops plan.
//
// It does to their objects what the API does to a client's: defaults, preparation, admission, encoding; the leader's
// clock and randomness enter here, so that plans stay pure. All changes of a batch go into one proposal. A change
// carries the resource version that its plan saw, so a plan from an old view fails with a conflict and is made again.
//
// Of an object whose managedFields are kept, what control loops change is theirs from then on.
//
// A Writer may be used by any goroutine.
package writer
