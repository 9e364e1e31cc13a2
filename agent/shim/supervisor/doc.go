// Package supervisor is the inside of the shim: it owns one pod's namespaces
// and containers, through libcontainer, and tells about them on a socket.
//
//	created --Start--> running --exit--> exited --Remove--> (gone)
//	   '-------------- exit ---------------^
//
// Invariants:
//   - An exit is on the disk before anybody is told, and its log is complete.
//   - A status only moves forward, and its times never change once set.
//   - All containers are forked from one thread that lives as long as the shim.
//     The kernel ties the parent-death signal to the thread, not to the process.
//   - The death of the shim, however it comes, kills its containers.
//   - Every operation can be repeated with the same outcome.
//
// Serve is called once in a process. Everything else is driven by the socket,
// one goroutine per connection; operations on one container follow each other,
// and so do creations.
package supervisor
