package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/internal/folder"
)

const (
	// namePrefix, a time and nameSuffix make the name of a scheduled file, so that names sort by age.
	namePrefix = "holt-"
	nameTime   = "20060102T150405Z"
	nameSuffix = ".snapshot"

	// retryPause is the pause after a failure, unless the interval is shorter.
	retryPause = time.Minute
	// spare is what a scheduled file leaves free on the disk, in bytes: the log is often on the same one, and a server
	// whose log cannot be written ends.
	spare = 256 << 20
	// spareEvery is how many bytes are written between two looks at what is free.
	spareEvery = 4 << 20
)

// ErrDiskFull says that a file was not written because it would have filled the disk.
var ErrDiskFull = errors.New("too little space is left on the disk")

// Schedule writes a file at regular intervals, and removes the oldest beyond a number.
type Schedule struct {
	// Dir is the folder of the files; Run makes it. What has other names in it stays as it is.
	Dir string
	// Interval is the time between two files, and Keep how many there are. Both are positive.
	Interval time.Duration
	Keep     int
	Saver    *Saver
	// Free returns how many bytes the file system of a folder has left. Nil asks the kernel.
	Free func(dir string) (uint64, error)
	Log  *slog.Logger

	mu     sync.Mutex
	failed string // why the last attempt failed; empty if it did not; guarded by mu
}

// Entry is one scheduled file.
type Entry struct {
	Name string `json:"name"`
	// Bytes is the size of the file.
	Bytes int64 `json:"bytes"`
	Header
	// Error says that the file cannot be read, and why; Header is empty then.
	Error string `json:"error,omitempty"`
}

// Status tells how the schedule is.
type Status struct {
	Dir string `json:"dir"`
	// Newest is when the newest file was made; zero if there is none.
	Newest time.Time `json:"newest,omitzero"`
	// Error is why the last attempt failed; empty if it did not.
	Error string `json:"error,omitempty"`
}

// Run works until ctx ends. A restart of the server does not change when the next file is due.
func (s *Schedule) Run(ctx context.Context) {
	err := os.MkdirAll(s.Dir, 0o700)
	if err == nil {
		err = folder.RemoveHalves(s.Dir)
	}
	if err != nil {
		s.Log.Error("the folder of the scheduled snapshots cannot be used", "error", err)
	}
	wait := min(time.Until(s.newest().Add(s.Interval)), s.Interval) // the clock may have been set back
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		err := s.once(ctx)
		if ctx.Err() != nil {
			return
		}
		wait = s.Interval
		if err != nil {
			s.Log.Error("the scheduled snapshot failed; it is tried again", "error", err)
			wait = min(s.Interval, retryPause)
		}
		s.note(err)
	}
}

// once writes a file and removes those that are too many. None is removed for one that was not written.
func (s *Schedule) once(ctx context.Context) error {
	saved, err := s.Saver.Begin(ctx, false)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	name := namePrefix + saved.Created.Format(nameTime) + nameSuffix
	err = folder.Replace(filepath.Join(s.Dir, name), func(w io.Writer) error {
		return saved.Write(&sparing{ctx: ctx, w: w, free: s.free})
	})
	if err != nil {
		return err
	}
	s.Log.Info("a scheduled snapshot was written", "name", name, "revision", saved.Revision)
	return s.prune()
}

func (s *Schedule) prune() error {
	names, err := s.names()
	for _, name := range names[:max(0, len(names)-s.Keep)] {
		err = errors.Join(err, os.Remove(filepath.Join(s.Dir, name)))
	}
	return err
}

// names returns the names of the files, the oldest first.
func (s *Schedule) names() ([]string, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if _, ok := timeOf(e.Name()); ok && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, err
}

// timeOf returns when the file of that name was made. It is false for what is no scheduled file.
func timeOf(name string) (time.Time, bool) {
	rest, ok := strings.CutPrefix(name, namePrefix)
	rest, ok2 := strings.CutSuffix(rest, nameSuffix)
	t, err := time.Parse(nameTime, rest)
	return t, ok && ok2 && err == nil
}

// newest returns when the newest file was made.
func (s *Schedule) newest() time.Time {
	names, err := s.names()
	if err != nil || len(names) == 0 {
		return time.Time{}
	}
	t, _ := timeOf(names[len(names)-1])
	return t
}

func (s *Schedule) free() error {
	free := s.Free
	if free == nil {
		free = freeBytes
	}
	if n, err := free(s.Dir); err != nil {
		return err
	} else if n < spare {
		return fmt.Errorf("%w: %d MiB, and %d must stay free", ErrDiskFull, n>>20, spare>>20)
	}
	return nil
}

func freeBytes(dir string) (uint64, error) {
	var fs unix.Statfs_t
	err := unix.Statfs(dir, &fs)
	return fs.Bavail * uint64(fs.Bsize), err
}

// sparing stops writing when the disk fills up, or ctx ends.
type sparing struct {
	ctx  context.Context
	w    io.Writer
	free func() error
	next int64 // bytes until the next look
}

func (s *sparing) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	if s.next -= int64(len(p)); s.next < 0 {
		if err := s.free(); err != nil {
			return 0, err
		}
		s.next = spareEvery
	}
	return s.w.Write(p)
}

func (s *Schedule) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = ""
	if err != nil {
		s.failed = err.Error()
	}
}

// Status tells how the schedule is.
func (s *Schedule) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{Dir: s.Dir, Newest: s.newest(), Error: s.failed}
}

// List returns the files, the oldest first.
func (s *Schedule) List() ([]Entry, error) {
	names, err := s.names()
	entries := []Entry{}
	for _, name := range names {
		entries = append(entries, s.entry(name))
	}
	return entries, err
}

func (s *Schedule) entry(name string) Entry {
	e := Entry{Name: name}
	f, err := os.Open(filepath.Join(s.Dir, name))
	if err != nil {
		e.Error = err.Error()
		return e
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil {
		e.Bytes = info.Size()
	}
	file, err := Open(f)
	if err != nil {
		e.Error = err.Error()
		return e
	}
	e.Header = file.Header
	return e
}
