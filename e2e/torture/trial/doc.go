// Package trial puts a torture run together: a cluster of servers, load on it, faults, and at the end the judgement.
//
//	Run: cluster up -> load starts -> step, step, step ... -> all is mended -> the rest is read -> check.History
//
// A run never fails for being slow or unavailable: only for what check finds, for a server that does not come back, or
// for states that differ when nothing happens any more.
//
// Run is called once at a time in a process.
package trial
