package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// finish bounds the requests in flight at the end; it is below the usual grace period of 30 s.
const finish = 25 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "whoami:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends and the server has drained.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("whoami", flag.ContinueOnError)
	listen := flags.String("listen", ":8080", "address to listen on")
	drain := flags.Duration("drain", 2*time.Second, "how long to go on accepting after SIGTERM")
	logAll := flags.Bool("log", false, "write a line for each request")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "listening on %s\n", listener.Addr())
	a := &app{pod: podName(), version: os.Getenv("VERSION")}
	handler := http.Handler(a.routes())
	if *logAll {
		handler = logged(handler, slog.New(slog.NewTextHandler(out, nil)))
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	fmt.Fprintln(out, "asked to end")
	a.ending.Store(true)
	server.SetKeepAlivesEnabled(false) // each answer from now on ends its connection
	time.Sleep(*drain)
	bound, cancel := context.WithTimeout(context.Background(), finish)
	defer cancel()
	err = server.Shutdown(bound)
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

func podName() string {
	if name := os.Getenv("POD_NAME"); name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

type app struct {
	pod, version string
	ending       atomic.Bool
}

func (a *app) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.root)
	mux.HandleFunc("GET /slow", a.slow)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, a.version) })
	mux.HandleFunc("GET /healthz", a.health)
	return mux
}

func (a *app) root(w http.ResponseWriter, r *http.Request) {
	local := ""
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		local = host(addr.String())
	}
	fmt.Fprintf(w, "pod=%s addr=%s client=%s version=%s\n", a.pod, local, host(r.RemoteAddr), a.version)
}

func host(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return h
}

func (a *app) slow(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
	if err != nil || ms < 0 || ms > 60_000 {
		http.Error(w, "want ?ms=N, from 0 to 60000", http.StatusBadRequest)
		return
	}
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		a.root(w, r)
	case <-r.Context().Done():
	}
}

func (a *app) health(w http.ResponseWriter, _ *http.Request) {
	if a.ending.Load() {
		http.Error(w, "ending", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func logged(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		log.Info("request", "method", r.Method, "path", r.URL.Path, "client", r.RemoteAddr)
	})
}
