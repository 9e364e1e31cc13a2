// Command inside is what the tests run in containers: one small static program
// for everything that a test wants to see from the inside.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	switch os.Args[1] {
	case "say": // CODE: a line on each stream, then exit
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
		code, _ := strconv.Atoi(os.Args[2])
		os.Exit(code)
	case "bytes": // N: that many bytes without a line end
		n, _ := strconv.Atoi(os.Args[2])
		io.WriteString(os.Stdout, strings.Repeat("x", n))
	case "lines": // N numbered lines
		n, _ := strconv.Atoi(os.Args[2])
		out := bufio.NewWriter(os.Stdout)
		for i := range n {
			fmt.Fprintln(out, i)
		}
		out.Flush()
	case "sleep": // until SIGTERM, which ends with 7
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Println("ready")
		<-c
		os.Exit(7)
	case "stubborn": // SIGTERM is told, not obeyed
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Println("ready")
		for range c {
			fmt.Println("ignored")
		}
	case "other-user": // as stubborn, after a change of user, which clears the parent-death signal
		if err := syscall.Setgid(1000); err != nil {
			fail(err)
		}
		if err := syscall.Setuid(1000); err != nil {
			fail(err)
		}
		if err := syscall.Exec("/inside", []string{"inside", "stubborn"}, nil); err != nil {
			fail(err)
		}
	case "eat": // memory until killed
		var all [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			all = append(all, b)
		}
	case "fds": // the open descriptors and what they are
		entries, _ := os.ReadDir("/proc/self/fd")
		for _, e := range entries {
			if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
				fmt.Println(e.Name(), to)
			}
		}
	case "namespaces": // their identities, and the host's name
		for _, ns := range []string{"net", "ipc", "uts", "pid", "mnt"} {
			to, _ := os.Readlink("/proc/self/ns/" + ns)
			fmt.Println(to)
		}
		name, _ := os.Hostname()
		fmt.Println(name)
	case "loopback": // a connection to itself
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fail(err)
		}
		if _, err := net.Dial("tcp", l.Addr().String()); err != nil {
			fail(err)
		}
		fmt.Println("connected")
	case "feed": // a child that eats memory, and live on
		fmt.Println(exec.Command("/inside", "eat").Run())
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		<-c
	case "reboot": // a system call to be denied
		fmt.Println(syscall.Reboot(syscall.LINUX_REBOOT_CMD_CAD_OFF))
	case "echo": // one line of stdin
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		fmt.Print("got ", line)
	case "orphan": // leaves a child behind
		cmd := exec.Command("/inside", "stubborn")
		cmd.Stdout = os.Stdout
		if err := cmd.Start(); err != nil {
			fail(err)
		}
		fmt.Println("left")
	case "umask":
		fmt.Printf("%04o\n", syscall.Umask(0))
	}
}

func fail(err error) {
	fmt.Println(err)
	os.Exit(1)
}
