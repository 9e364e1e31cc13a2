// Package listener shares a server's one TLS port between the API and the streams of consensus.
//
// The client says in the handshake (ALPN) which of the two it wants. Streams of consensus are accepted from
// certificates of the cluster's servers only; the API decides for itself whom it talks to. Handshakes have a deadline
// and their number is bounded, so that strangers who connect and stay silent keep nobody out.
//
// A Listener may be used by any goroutine.
package listener
