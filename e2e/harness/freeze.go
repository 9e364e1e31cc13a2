package harness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// thawer is a process that thaws a file system when it is told to, when who started it has gone, or when its time is
// up: who writes to a frozen file system cannot be killed, and once unmounted it stays frozen for ever.
type thawer struct {
	cmd   *exec.Cmd
	wait  io.Closer // the process waits as long as this is open
	words bytes.Buffer
}

// startThawer must come before the freeze.
func startThawer(dir string, atMost time.Duration) (*thawer, error) {
	seconds := strconv.FormatFloat(atMost.Seconds(), 'f', 3, 64)
	t := &thawer{cmd: exec.Command("/bin/sh", "-c", `timeout "$1" cat; exec fsfreeze --unfreeze "$2"`, "thawer", seconds, dir)}
	t.cmd.Dir = "/"
	t.cmd.Stderr = &t.words
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var err error
	if t.wait, err = t.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return t, t.cmd.Start()
}

// thaw returns when the file system is thawed, and the process has ended.
func (t *thawer) thaw() error {
	_ = t.wait.Close() // it may have ended already
	if err := t.cmd.Wait(); err != nil {
		return fmt.Errorf("thawing: %w: %s", err, &t.words)
	}
	return nil
}

// Freeze makes the disk hang: writes wait until Thaw, which must follow, or until atMost has passed.
func (d *Disk) Freeze(ctx context.Context, atMost time.Duration) error {
	t, err := startThawer(d.data, atMost)
	if err != nil {
		return err
	}
	if err := command(ctx, "fsfreeze", "--freeze", d.data); err != nil {
		_ = t.thaw() // there is nothing to thaw
		return err
	}
	d.thawer = t
	return nil
}

// Thaw ends Freeze; a disk that is not frozen stays as it is.
func (d *Disk) Thaw() error {
	t := d.thawer
	if t == nil {
		return nil
	}
	d.thawer = nil
	return t.thaw()
}
