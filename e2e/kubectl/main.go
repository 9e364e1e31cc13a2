package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	// Before cobra parses: client-go logs while the command tree is built, and -v must hold there too.
	_, _ = logs.GlogSetter(cmd.GetLogVerbosity(os.Args))
	// kubectl prints its own errors, with its own exit codes (diff has 1 for "different", for example).
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
