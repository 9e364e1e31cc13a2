// Package podutil answers the questions about pods that several control loops ask: is it active, ready, available?
//
// All functions are pure and keep nothing.
package podutil
