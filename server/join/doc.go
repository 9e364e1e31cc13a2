// Package join admits servers and agents to the cluster, and keeps what that takes.
//
// The cluster's CA, its gossip key and the join tokens are Secrets in kube-system, so every server can admit a node
// and no snapshot can forget them. Of a token only a hash of its secret is kept. A node that proves a token gets a
// certificate for the token's role and for no other name than its own; a name whose agent lives is refused.
//
// Members admits servers to the Raft group; Group answers administrators who list or remove servers, or move leadership.
// A server that was removed on purpose is remembered by an object.
//
// A Desk and a Group may be used by any goroutine.
package join
