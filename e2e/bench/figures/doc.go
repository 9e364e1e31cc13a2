// Package figures is what all benchmarks measure with: percentiles, the CPU time and the memory of other processes, and
// what the machine is.
//
// Its functions may be called from any goroutine and keep nothing. Processes are read from Linux's /proc.
package figures
