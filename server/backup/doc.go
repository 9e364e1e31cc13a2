// Package backup writes the cluster's state to files and brings it back: on demand (holt snapshot), on a schedule, and
// into a running cluster.
//
//	magic, version | header length 4 | header (JSON) | frames of the body | 0 | SHA-256 of all before
//	body: the state machine's own snapshot, sealed with the cluster's key ring or plain
//
// The header can be read without any key, and the checksum be checked without one. A sealed body is bound to its
// header, so neither can be exchanged. What the body says of itself (revision, number of objects, digest) must be what
// the header says.
//
//	save:     Linearize -> view -> file, streamed; writes go on meanwhile
//	restore:  file, checked as it is read -> pieces -> the log (fsm.Stage) -> all there and sound -> fsm.Replace
//
// A restore replaces everything but what makes the running cluster this one (Config.Keep). It is one entry of the log,
// so that a failure at any time leaves all servers with the old state or the new one.
//
// The key ring never travels: a server opens what its own ring has sealed, and whoever brings a file that another ring
// has sealed opens it first (Reopen) and sends it plain, over TLS.
//
// A Saver writes files, a Restorer reads them back, a Schedule keeps some on the server's disk; a Desk offers the three
// over HTTP, and a Visitor is its client.
//
// Concurrency: a Desk and a Schedule may be used by any number of goroutines; Schedule.Run is called once. Everything
// else belongs to one goroutine at a time.
package backup
