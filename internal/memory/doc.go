// Package memory gives memory back to the machine while a process has nothing to do. Go's runtime keeps what a burst of
// work has left in the heap for the next one, up to the size of the live heap again, and returns the rest slowly; on a
// node the pods could use it.
//
// A Trimmer belongs to the goroutine that runs it.
package memory
