// Package load is the clients of a torture run: those that read and write, and those that watch.
//
//	Load ── callers   several on each server: get, list, create, update, patch, delete on a few keys
//	     └─ watchers  several on each server: of everything, of a selector, from the initial state, from the past
//
// Every request goes to one server and is sent once, so that what is recorded is what one server answered. Keys are
// used for an era of some hundred calls and then left as they are: histories of one key stay short enough to be
// checked, and what is left must last.
//
// A Load belongs to its caller, who stops it; that joins all goroutines. Quiet may be called by any goroutine.
package load
