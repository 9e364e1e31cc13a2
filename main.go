package main

import (
	"os"

	"github.com/holt-project/holt/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
