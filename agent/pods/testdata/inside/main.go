// Command inside is what the tests run in containers.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	switch os.Args[1] {
	case "exit": // CODE
		code, _ := strconv.Atoi(os.Args[2])
		fmt.Println("exiting with", code)
		os.Exit(code)
	case "sleep": // until SIGTERM, which ends with 0
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Println("ready")
		<-c
	case "stubborn": // SIGTERM is told, not obeyed
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Println("ready")
		for range c {
			fmt.Println("ignored")
		}
	case "say": // the arguments, each on a line
		fmt.Println(strings.Join(os.Args[2:], "\n"))
	case "env": // NAMES: their values
		for _, name := range os.Args[2:] {
			fmt.Printf("%s=%s\n", name, os.Getenv(name))
		}
	case "cat": // FILES
		for _, name := range os.Args[2:] {
			data, err := os.ReadFile(name)
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			fmt.Printf("%s", data)
		}
	case "write": // FILE TEXT
		if err := os.WriteFile(os.Args[2], []byte(os.Args[3]), 0o644); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "once": // FILE: fails until the file is there, which it makes
		if _, err := os.Stat(os.Args[2]); err != nil {
			if err := os.WriteFile(os.Args[2], nil, 0o644); err != nil {
				fmt.Println(err)
			}
			os.Exit(1)
		}
	case "status": // NAMES: lines of /proc/self/status
		f, err := os.Open("/proc/self/status")
		if err != nil {
			os.Exit(1)
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ":")
			for _, want := range os.Args[2:] {
				if name == want {
					fmt.Printf("%s=%s\n", name, strings.Join(strings.Fields(value), " "))
				}
			}
		}
	case "eat": // memory until killed
		var all [][]byte
		for {
			block := make([]byte, 1<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			all = append(all, block)
			_ = all
		}
	}
}
