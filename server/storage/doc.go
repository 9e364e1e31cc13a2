// Package storage is what Kubernetes' API promises of its store, kept over fsm (this server's copy of the state) and
// consensus (the log that all servers share). It knows no HTTP: server/api puts it on the wire.
//
//	Get    resourceVersion: "" the newest, "0" what is here, N not older than N
//	List   the same; Exact N, or N with a limit: as it was at N; continue: the page's own revision
//	Watch  after N; "" or "0": the objects that are there, then every change
//
// Invariants:
//
//   - A read without a resource version shows every write that was answered, by any server, before it began.
//   - A list is of one revision, and so are all its pages, on whatever server each of them is taken: an older state is
//     the present one with the later events undone (fsm.Store.At). Nothing is pinned between pages.
//   - A watch shows each change of its scope once, in order, without a gap; an object that enters or leaves what the
//     selectors let through is added or deleted. A bookmark promises that all up to its revision was sent. Who resumes at
//     the revision of an event or bookmark, here or on another server, misses nothing.
//   - A read after an event, on the same server, is never older than the event.
//   - What cannot be answered truthfully is an error: history that is gone (ExpiredError), a revision that this server
//     has not reached (TooLargeError), options that contradict each other (InvalidError, ErrBadOptions).
//
// Options are Kubernetes' own ListOptions, and its own rules check them. storagetest holds every store to all of this.
//
// Concurrency: a Store may be used by any goroutine, a Watcher by one at a time. There are no goroutines here.
package storage
