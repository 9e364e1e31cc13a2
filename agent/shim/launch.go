//go:build linux && cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/opencontainers/runc/libcontainer/utils"
	"github.com/sirupsen/logrus"

	"github.com/holt-project/holt/agent/shim/protocol"
	"github.com/holt-project/holt/agent/shim/supervisor"
)

const (
	// readyFD is where serve says that it is ready.
	readyFD = 3
	// ready is what it says; anything else is an error message.
	ready = "ready"
)

// tuning keeps a process that mostly sleeps small: few threads, little garbage.
var tuning = []string{"GOMAXPROCS=2", "GOGC=25", "GOMEMLIMIT=12MiB"}

// launch starts serve out of reach of the terminal, and waits until it is ready. It
// stands between the caller and serve, so that serve is nobody's child. SIGTERM
// makes it take serve back, so that a caller who gave up knows it is gone.
func launch(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	// What the caller has leaked to us goes no further.
	if err := utils.CloseExecFrom(readyFD); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, protocol.LogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command("/proc/self/exe", "serve", dir)
	cmd.Args[0] = "holt-shim"
	cmd.Dir, cmd.Env = "/", tuning
	cmd.Stderr = log
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("start the shim: %w", err)
	}
	keep := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	said, err := io.ReadAll(io.LimitReader(r, 64<<10))
	if keep() && string(said) == ready {
		return nil
	}
	if ctx.Err() != nil {
		return errors.Join(errors.New("taken back"), cmd.Wait())
	}
	return errors.Join(fmt.Errorf("the shim did not start: %s", strings.TrimSpace(string(said))), err, cmd.Wait())
}

// serve owns a pod until it is shut down.
func serve(dir string) error {
	logrus.SetLevel(logrus.WarnLevel) // libcontainer's; goes to stderr, our log
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	parent := os.NewFile(readyFD, "ready")
	told := false
	err := supervisor.Serve(dir, log, func() error {
		told = true
		_, err := io.WriteString(parent, ready)
		return errors.Join(err, parent.Close())
	})
	if err != nil && !told {
		_, _ = io.WriteString(parent, err.Error())
	}
	return err
}
