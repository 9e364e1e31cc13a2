// Package folder takes a data folder for one process.
//
// Lock may be called by any goroutine; the lock belongs to the process and ends with it, however it ends.
package folder
