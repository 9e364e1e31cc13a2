// Package protocol is what an agent and a shim say to each other: the messages
// and how they are framed on the shim's socket.
//
// One connection carries one Request, then its Response; after OpWatch, a State
// follows at once and again at every change until either side closes. A message
// is one line of JSON of at most MaxMessage bytes. The socket is a path inside
// the pod's folder with mode 0600 (never abstract, CVE-2020-15257), and the shim
// answers only peers with its own user number.
//
// Both sides may be of different versions, since a shim outlives an upgrade of
// its agent: fields are only added, and unknown ones are ignored.
//
// The functions hold no state and may be called from any goroutine; one
// connection belongs to one goroutine per direction.
package protocol
