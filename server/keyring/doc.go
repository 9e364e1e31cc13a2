// Package keyring is the life of the keys with which every server encrypts its disk: where they are kept, how they
// reach the servers, and how they change.
//
//	rotate -> new key into the leader's ring file -> its ID first in the Secret holt-keyring (replicated)
//	       -> each server: fetches the key from another one -> its ring file -> seals with it -> reseals what it has
//	drop   -> every server says that it needs the key no longer -> its ID out of the Secret -> out of the ring files
//
// The Secret kube-system/holt-keyring lists the IDs of the cluster's keys, the primary one first, and no secret: keys
// go from server to server over TLS, and into their ring files, never into the log, the snapshots or a backup. An entry
// of the log would be sealed with the key before; whoever has learned that one could read the new key from an old disk.
//
// Invariants:
//
//   - A server's ring file holds every key that its disk is sealed with: a key is durably in the file before anything
//     is sealed with it, and leaves the file after nothing is.
//   - A key that the Secret lists first is used by a server as soon as the server has it. Until then it goes on with the
//     one before, so a key that is lost with the server that made it costs nothing; the leader lists what there is.
//   - Which keys are used by this cluster is decided by the Secret, which ones a server can open by its file. A crash
//     between the two is mended by following the Secret again.
//
// Concurrency: a Keeper may be used by any goroutine; Run is called once.
package keyring
