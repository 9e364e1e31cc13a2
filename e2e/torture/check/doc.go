// Package check judges a history: it says what a cluster did that it must not do.
//
//	model     per key: porcupine finds an order of the calls that one copy of the object could have answered so
//	order     revisions go up in real time, over all keys; nobody sees what nobody wrote, or what was refused
//	truth     one revision is one change, the same for everybody
//	lists     a list is the state at its revision, whole
//	cached    reads of resourceVersion=0 do not go back on a server that was not started again
//	watches   a watch tells every change of its scope once and in order, from where it began to where it came
//
// Calls of unknown outcome may have taken effect at any time since, or never. Where another observation tells at which
// revision one did, that is used. An outage is no violation: calls that say nothing are left out.
//
// Everything here is a pure function of the history and may be called by any goroutine.
package check
