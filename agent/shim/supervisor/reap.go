//go:build linux && cgo

package supervisor

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// siginfo is the beginning of the kernel's siginfo_t for SIGCHLD (sigaction(2)).
type siginfo struct {
	_   [3]int32
	_   [unsafe.Sizeof(uintptr(0)) - 4]byte // the union is aligned to a pointer
	pid int32
	_   [128]byte
}

// reap collects adopted processes that have ended. It only looks first
// (WNOWAIT), and leaves alone what another goroutine waits for: the first
// processes of containers. It is called on every SIGCHLD and after every exit.
func (s *Supervisor) reap() {
	s.forking.Lock()
	defer s.forking.Unlock()
	for {
		var info siginfo
		err := unix.Waitid(unix.P_ALL, 0, (*unix.Siginfo)(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err != nil || info.pid == 0 || s.owns(int(info.pid)) {
			return
		}
		if _, err := unix.Wait4(int(info.pid), nil, unix.WNOHANG, nil); err != nil {
			return
		}
	}
}

// owns: the process is the first of a container that has not been waited for.
func (s *Supervisor) owns(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.containers {
		if c.status.PID == pid && !c.waited {
			return true
		}
	}
	return false
}
