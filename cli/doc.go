// Package cli is holt's command tree: one file per command group, no logic of its own.
//
// Commands parse flags, wire concrete types together and print; everything else lives in the packages
// that they call. Main may be called once per process.
package cli
