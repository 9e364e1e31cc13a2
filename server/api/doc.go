// Package api is the wire: it turns HTTP requests of the Kubernetes API into reads of the store and proposals to the
// consensus, and answers as a Kubernetes API server does.
//
//	recover -> open paths -> authenticate -> authorize -> dispatch
//	  read  -> options -> storage -> encode
//	  watch -> options -> storage -> frames
//	  write -> leader: default, prepare, admit, validate, propose
//	           else:   forward to the leader with the caller's identity
//
// The Server does what is above the dispatch, and holds a part for each thing below it: openPaths, reader, watches,
// podLogs, and the forwarder, which hands writes to the leader or, on the leader, to the writer. All of them answer
// through the responder.
//
// Server-side apply (apply.go) is a write like the others, whose next state is the merged object, and which creates the
// object when there is none. Who owns which field is ownership's matter: owner.go says on whose behalf a write is.
//
// Invariants:
//
//   - Every request that is not one of the open paths (health, version) has exactly one authentication and one
//     authorization decision, made from the parsed RequestInfo that also selects the handler.
//   - A write is read-modify-write under a revision precondition. It is tried again after a conflict, after a refusal
//     that may rest on a stale view (once, after Linearize), and when the leader changed before it was proposed.
//     When it may have been applied it is tried again under its ID, which fsm applies once (repeat.go): the client gets
//     504, the outcome unknown, only when nobody could tell in time.
//   - What clients can make a server hold is bounded (Limits): over it, 429 with Retry-After, and the rest goes on.
//   - What a resource version, a limit or a selector means is storage's matter: this package reads the parameters, and
//     puts the answer or the error on the wire.
//   - Objects of the store are shared: everything here works on deep copies. The JSON of an object is made once
//     per revision, by fsm.Object.Encoded; its protobuf is the store's own bytes (stamp.go).
//   - Every create, update and patch by a client is tracked in managedFields, after defaults and before Prepare and
//     admission: what those set belongs to nobody.
//   - No kind has code of its own here, except Namespace and Pod where Kubernetes' wire protocol itself treats them
//     apart (spec.finalizers, logs).
//   - Identity headers are believed only from a TLS peer that is a server of the cluster.
//
// Concurrency: a Server is safe for any number of goroutines. It starts none that outlives a request.
package api
