// Package client is how an agent starts shims, finds them again, and talks to
// them. It needs neither cgo nor libcontainer.
//
//	Start  -> a shim that serves the pod, started or found
//	Attach -> the shim that already serves a folder, or ErrGone
//	ErrGone -> Recorded tells how its containers fared, Cleanup removes what is left
//
// Invariants:
//   - A Shim holds no connection and no goroutine: each call makes its own. It
//     need not be closed, and an agent may die at any point of any call and
//     repeat it.
//   - Start, Attach, Cleanup, Recorded and all methods may be called at the same
//     time for different folders. For one folder, Start, Shutdown and Cleanup
//     must not overlap; the other methods may be called at any time.
package client
