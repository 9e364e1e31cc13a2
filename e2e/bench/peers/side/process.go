package side

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// stopTimeout bounds a graceful end; who takes longer is killed.
const stopTimeout = 10 * time.Second

// lastWords is how much of a log an error quotes, in bytes.
const lastWords = 2000

// process is one that was started here.
type process struct {
	pid  int
	log  string
	done chan struct{} // closed when it has ended and was reaped
	err  error         // how it ended; read only after done
}

// spawn starts a command in a process group of its own, so that a terminal's interrupt reaches the benchmark alone,
// which then ends it. Its output is appended to a file.
func spawn(command []string, log string) (*process, error) {
	p := &process{log: log, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel kills the process when the thread that made it ends: this one waits for it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		p.run(command, started)
	}()
	return p, <-started
}

func (p *process) run(command []string, started chan<- error) {
	defer close(p.done)
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		started <- err
		return
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	if err == nil {
		p.pid = cmd.Process.Pid
	}
	started <- err
	if err == nil {
		p.err = cmd.Wait()
	}
}

// kill ends the process as a crash does, and waits until it is gone.
func (p *process) kill() {
	_ = syscall.Kill(p.pid, syscall.SIGKILL) // fails only if it has ended
	<-p.done
}

// stop asks the process to end.
func (p *process) stop() error {
	if p.ended() != nil {
		return nil
	}
	_ = syscall.Kill(p.pid, syscall.SIGTERM) // fails only if it has ended
	select {
	case <-p.done:
		return nil
	case <-time.After(stopTimeout):
		p.kill()
		return fmt.Errorf("process %d did not end by itself: %s", p.pid, p.words())
	}
}

// ended returns an error with its last words if the process has ended.
func (p *process) ended() error {
	select {
	case <-p.done:
		return errors.Join(p.err, errors.New("it has ended: "+p.words()))
	default:
		return nil
	}
}

// words is the end of the log.
func (p *process) words() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data[max(0, len(data)-lastWords):]))
}
