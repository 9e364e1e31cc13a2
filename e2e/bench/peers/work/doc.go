// Package work is the work that a benchmark gives to a server of the Kubernetes API, whichever it is: requests of many
// clients, lists, and watches.
//
// The clients share the machine with the server, so they do no more than a client must: bodies are prepared, answers are
// read to their end and, save for a status and an event's name, not looked into. Each Client has one HTTP/2 connection
// with TLS 1.3 and a certificate, as a client made by client-go has, and asks for no compression, as Kubernetes' own
// components do not.
//
// A Client may be used by any goroutine. Everything that starts goroutines joins them before it returns, except Watch,
// whose caller calls Stop.
package work
