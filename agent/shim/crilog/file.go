package crilog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Log is one container's log file.
type Log struct {
	name string
	max  int64

	mu   sync.Mutex
	dir  *os.File
	file *os.File
	size int64
	err  error // the first failed write
	lost int64 // bytes that could not be written
}

// Open opens or makes the log at path; its folder is made with mode 0700 if
// missing. Once it has grown to max bytes it is renamed to path.1, replacing
// the one before; 0 never rotates.
func Open(path string, max int64) (*Log, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	fd, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("log: %w", &os.PathError{Op: "open", Path: filepath.Dir(path), Err: err})
	}
	l := &Log{name: filepath.Base(path), max: max, dir: os.NewFile(uintptr(fd), filepath.Dir(path))}
	if err := l.open(); err != nil {
		l.dir.Close()
		return nil, err
	}
	return l, nil
}

// open opens the current file. l.mu is held, or l not yet shared.
func (l *Log) open() error {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	fd, err := unix.Openat(int(l.dir.Fd()), l.name, flags, 0o640)
	if err != nil {
		return fmt.Errorf("log: %w", &os.PathError{Op: "open", Path: l.name, Err: err})
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		unix.Close(fd)
		return fmt.Errorf("log: %w", err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG || stat.Nlink != 1 {
		unix.Close(fd)
		return fmt.Errorf("log: %s is not a regular file with one name; remove it", l.name)
	}
	l.file, l.size = os.NewFile(uintptr(fd), l.name), stat.Size
	return nil
}

// write appends whole lines and rotates. It keeps failures for Close.
func (l *Log) write(lines []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.max > 0 && l.size >= l.max {
		l.rotate()
	}
	if l.file == nil {
		l.lost += int64(len(lines))
		return
	}
	n, err := l.file.Write(lines)
	l.size += int64(n)
	if err != nil {
		l.fail(err)
		l.lost += int64(len(lines) - n)
	}
}

// rotate moves the full file aside. If that fails, the old one grows on.
func (l *Log) rotate() {
	dir := int(l.dir.Fd())
	if err := unix.Renameat(dir, l.name, dir, l.name+".1"); err != nil {
		l.fail(fmt.Errorf("rotate: %w", err))
		return
	}
	l.file.Close()
	l.file = nil
	if err := l.open(); err != nil {
		l.fail(err)
	}
}

func (l *Log) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// Close closes the file and returns the first failure of the log's life.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		l.err = fmt.Errorf("log: %d bytes lost: %w", l.lost, l.err)
	}
	err := l.err
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
		l.file = nil
	}
	return errors.Join(err, l.dir.Close())
}
