// Package folder keeps a process's data folder: it takes the folder for one process, and replaces files in it so that a
// crash leaves the old one or the new one.
//
// Lock may be called by any goroutine; the lock belongs to the process and ends with it, however it ends. WriteFile
// and Replace may be called by any goroutine, but by one at a time for the same file.
package folder
