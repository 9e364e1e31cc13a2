package sandbox

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// onDisposableThread runs f on a thread that may change its own namespaces and cgroups, because it ends with f and
// is gone when onDisposableThread returns.
func onDisposableThread(f func() error) error {
	type result struct {
		tid int
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// The process's first thread cannot end. While this goroutine holds it, the next one gets another.
			err := onDisposableThread(f)
			runtime.UnlockOSThread()
			done <- result{err: err}
			return
		}
		// A goroutine that ends without unlocking takes its thread with it.
		done <- result{tid: unix.Gettid(), err: f()}
	}()
	r := <-done
	if r.tid == 0 {
		return r.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	task := "/proc/self/task/" + strconv.Itoa(r.tid)
	if err := poll(ctx, func() (bool, error) {
		_, err := os.Stat(task)
		return os.IsNotExist(err), nil
	}); err != nil && r.err == nil {
		return err
	}
	return r.err
}
