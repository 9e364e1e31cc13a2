package sandbox

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"
)

// watch waits until hosts that were started do what they are for.
type watch struct {
	hosts []*host
	log   *slog.Logger
}

// awaitReady returns when every server serves, one leads, and every agent's Node is Ready.
func (w *watch) awaitReady(ctx context.Context, cluster Cluster) error {
	return w.await(ctx, func() (blamed *host, waitsFor string, err error) {
		leaders := 0
		for _, h := range w.hosts {
			if h.Role != RoleServer {
				continue
			}
			leads, reason := serves(ctx, cluster, h.Address)
			if reason != "" {
				return h, reason, nil
			}
			if leads {
				leaders++
			}
		}
		if leaders != 1 {
			return w.hosts[0], fmt.Sprintf("%d servers say that they lead", leaders), nil
		}
		ready, err := cluster.ReadyNodes(ctx)
		if err != nil {
			return w.hosts[0], "its nodes cannot be listed: " + err.Error(), nil
		}
		for _, h := range w.hosts {
			if h.Role != RoleAgent || ready[h.Name] {
				continue
			}
			if _, registered := ready[h.Name]; !registered {
				return h, "it has not registered its Node", nil
			}
			return h, "its Node is not Ready", nil
		}
		return nil, "", nil
	})
}

// serves tells whether a server leads, or why it does not serve. One request must not use up the time of all.
func serves(ctx context.Context, cluster Cluster, server netip.Addr) (leads bool, reason string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	leads, err := cluster.Status(ctx, server)
	if err != nil {
		return false, "it does not serve: " + err.Error()
	}
	return leads, ""
}

// await calls step until it names no host that is waited for. It fails at once if a started process ends, and blames
// the host that was waited for last if ctx ends.
func (w *watch) await(ctx context.Context, step func() (blamed *host, waitsFor string, err error)) error {
	var last *host
	var waitsFor string
	err := poll(ctx, func() (bool, error) {
		for _, h := range w.hosts {
			if err := h.ended(); err != nil {
				return false, err
			}
		}
		blamed, reason, err := step()
		if err != nil || blamed == nil {
			return err == nil, err
		}
		// What a request says as the time runs out is that the time ran out; the reason before says more.
		if ctx.Err() == nil {
			if last != blamed {
				w.log.Info("waiting", "host", blamed.Name, "reason", reason)
			}
			last, waitsFor = blamed, reason
		}
		return false, nil
	})
	if err != nil && ctx.Err() != nil && last != nil {
		err = last.blame(fmt.Errorf("%s: %w", waitsFor, err))
	}
	return err
}

// StartError says which host kept a sandbox from becoming ready, and why.
type StartError struct {
	Host string
	Err  error
	// LogTail is the end of what the host's process printed.
	LogTail string
}

func (e *StartError) Error() string {
	tail := "it printed nothing"
	if e.LogTail != "" {
		tail = "the end of its log:\n    " + strings.ReplaceAll(e.LogTail, "\n", "\n    ")
	}
	return fmt.Sprintf("%s: %v; %s", e.Host, e.Err, tail)
}

func (e *StartError) Unwrap() error { return e.Err }

// blame returns err as the host's, with the end of what its process has printed until now.
func (h *host) blame(err error) *StartError {
	return &StartError{Host: h.Name, Err: err, LogTail: tail(h.paths.logFile)}
}

// tail returns a file's last lines, or as much of them as fits a screen.
func tail(file string) string {
	const maxBytes, maxLines = 4096, 20
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	from := max(0, info.Size()-maxBytes)
	buf := make([]byte, info.Size()-from)
	n, _ := f.ReadAt(buf, from)
	lines := strings.Split(strings.TrimSpace(string(buf[:n])), "\n")
	return strings.Join(lines[max(0, len(lines)-maxLines):], "\n")
}
