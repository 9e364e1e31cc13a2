//go:build linux && cgo

package main

import (
	"fmt"
	"os"
	"runtime"

	_ "github.com/opencontainers/cgroups/devices" // device rules need it
	"github.com/opencontainers/runc/libcontainer"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // enters namespaces before Go starts
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/shim/protocol"
)

// init takes over when libcontainer has started us as a container's first
// process. The parent-death signal is set here, since it does not survive the
// clones by which nsenter comes to this point. If the shim is dead already,
// libcontainer finds its pipe closed and gives up.
func init() {
	if len(os.Args) != 2 || os.Args[1] != "init" {
		return
	}
	runtime.LockOSThread() // the thread that becomes the command
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "set parent-death signal:", err)
		os.Exit(255)
	}
	libcontainer.Init()
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "launch":
		return launch(args[1])
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1])
	case len(args) == 1 && args[0] == "version":
		fmt.Println(protocol.Version)
		return nil
	}
	return fmt.Errorf("usage: holt-shim launch|serve DIR (the holt agent starts it; it is of no use by hand)")
}
