// Package binary carries the holt-shim program inside holt and writes it out.
//
// The folder is embedded as it is, so that a fresh clone compiles before the
// shim was built; WriteOut then says what to do. "make build" builds the shim
// into this folder first.
//
// WriteOut may be called by any number of goroutines and processes at the same
// time, for the same folder.
package binary
