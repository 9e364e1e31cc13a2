// Package client is a small client of the Kubernetes wire API, for agents and commands.
//
// A Client knows several servers and keeps to one that answers; when that fails it goes on to the next. A request
// is repeated on another server only if it certainly was not carried out (no connection), or changes nothing.
// A Cache keeps a local copy of a collection by list and watch, and survives the loss of servers: it resumes where
// it was and never goes back in time.
//
// Client and Cache may be used by any goroutine. Objects in a Cache are shared and must not be changed.
package client
