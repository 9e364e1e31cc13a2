package streams

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// watcher tells when something in a folder changes.
type watcher struct {
	changes chan struct{} // holds one wake-up
	events  *os.File
	ended   chan struct{}
}

// watchDir watches an open folder until close.
func watchDir(dir *os.File) (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("follow: %w; raise fs.inotify.max_user_instances", err)
	}
	w := &watcher{changes: make(chan struct{}, 1), events: os.NewFile(uintptr(fd), "inotify"), ended: make(chan struct{})}
	const mask = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO
	if _, err := unix.InotifyAddWatch(fd, "/proc/self/fd/"+strconv.Itoa(int(dir.Fd())), mask); err != nil {
		w.events.Close()
		return nil, fmt.Errorf("follow: %w; raise fs.inotify.max_user_watches", err)
	}
	go w.run()
	return w, nil
}

// run ends with close.
func (w *watcher) run() {
	defer close(w.ended)
	buffer := make([]byte, 4096)
	for {
		// What changed does not matter: the reader looks for itself.
		if _, err := w.events.Read(buffer); err != nil {
			return
		}
		select {
		case w.changes <- struct{}{}:
		default:
		}
	}
}

// close ends the watch and waits for its end.
func (w *watcher) close() {
	w.events.Close()
	<-w.ended
}
