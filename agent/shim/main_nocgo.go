//go:build !linux || !cgo

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "holt-shim was built without cgo, or not for Linux, and cannot run containers; build it with: make build")
	os.Exit(1)
}
