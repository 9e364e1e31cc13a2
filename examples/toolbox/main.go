package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// errUsage marks a command line that makes no sense.
var errUsage = errors.New("usage: toolbox sleep|wget|nslookup|exit|hog|env|cat|id [ARGUMENTS]")

// exitCode is the error of a command that ends with a code of its own.
type exitCode int

func (e exitCode) Error() string { return "exit " + strconv.Itoa(int(e)) }

var commands = map[string]func(ctx context.Context, args []string, out io.Writer) error{
	"sleep": sleep, "wget": wget, "nslookup": nslookup, "exit": exit, "hog": hog, "env": env, "cat": cat, "id": id,
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	err := errUsage
	if len(args) > 0 && commands[args[0]] != nil {
		err = commands[args[0]](ctx, args[1:], out)
	}
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(errOut, "toolbox:", err)
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

// number reads the only argument.
func number(args []string, most int) (int, error) {
	if len(args) != 1 {
		return 0, errUsage
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%q is not a number from 0 to %d: %w", args[0], most, errUsage)
	}
	return n, nil
}

func sleep(ctx context.Context, args []string, _ io.Writer) error {
	if len(args) == 0 {
		<-ctx.Done()
		return nil
	}
	n, err := number(args, 1<<30)
	if err != nil {
		return err
	}
	pause(ctx, time.Duration(n)*time.Second)
	return nil
}

// pause tells whether the time passed; if not, the program is to end.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func exit(_ context.Context, args []string, _ io.Writer) error {
	n, err := number(args, 255)
	if err != nil || n == 0 {
		return err
	}
	return exitCode(n)
}

func hog(ctx context.Context, args []string, out io.Writer) error {
	n, err := number(args, 1<<20)
	if err != nil {
		return err
	}
	held := make([]byte, n<<20)
	for i := 0; i < len(held); i += os.Getpagesize() {
		held[i] = 1 // memory counts from the first write
	}
	fmt.Fprintf(out, "holding %d MB\n", n)
	<-ctx.Done()
	runtime.KeepAlive(held)
	return nil
}

func env(_ context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		return errUsage
	}
	for _, v := range os.Environ() {
		fmt.Fprintln(out, v)
	}
	return nil
}

func cat(_ context.Context, args []string, out io.Writer) error {
	if len(args) != 1 {
		return errUsage
	}
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(out, f)
	return err
}

func id(_ context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		return errUsage
	}
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "uid=%d gid=%d groups=%s\n", os.Getuid(), os.Getgid(), strings.Trim(strings.ReplaceAll(fmt.Sprint(groups), " ", ","), "[]"))
	return nil
}

func wget(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("wget", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	count := flags.Int("n", 1, "how many times")
	interval := flags.Duration("interval", 0, "pause between two requests")
	timeout := flags.Duration("timeout", 5*time.Second, "bound on each request")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	if flags.NArg() != 1 || *count < 1 {
		return errUsage
	}
	// A new connection each time, so that what balances connections shows.
	client := &http.Client{Timeout: *timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	var failed error
	for i := range *count {
		if i > 0 && !pause(ctx, *interval) {
			break
		}
		if err := fetch(ctx, client, flags.Arg(0), out); err != nil {
			failed = err
			fmt.Fprintln(out, "error:", err)
		}
	}
	return failed
}

func fetch(ctx context.Context, client *http.Client, url string, out io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(out, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

func nslookup(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 1 {
		return errUsage
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if strings.HasPrefix(args[0], "_") {
		_, records, err := net.DefaultResolver.LookupSRV(ctx, "", "", args[0])
		for _, r := range records {
			fmt.Fprintf(out, "SRV %s %d\n", r.Target, r.Port)
		}
		return err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", args[0])
	for _, a := range addrs {
		fmt.Fprintf(out, "A %s\n", a.Unmap())
	}
	return err
}
