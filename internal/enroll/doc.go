// Package enroll is how a node gets its certificate: the messages of joining, and the joiner's side.
//
// The joiner knows a server's address and a token. It first fetches the cluster's CA certificate over a connection
// that it does not trust, compares its fingerprint with the one in the token, and only then, over a connection that
// this CA vouches for, sends the token's secret with a signing request. Nothing secret ever reaches a stranger.
package enroll
