//go:build linux && cgo

package supervisor

import "runtime"

// thread runs functions on one operating system thread that ends only with the
// process. Containers get SIGKILL when the thread that forked them ends; other
// threads of a Go program may end at any time, when a locked goroutine returns
// (libcontainer has such).
type thread struct{ work chan func() }

func newThread() *thread {
	t := &thread{work: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for do := range t.work {
			do()
		}
	}()
	return t
}

// do runs f on the thread and waits for it.
func (t *thread) do(f func()) {
	done := make(chan struct{})
	t.work <- func() {
		defer close(done)
		f()
	}
	<-done
}
