package streams

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// rotated ends the name of the file that a log had before.
const rotated = ".1"

// logFiles are the files of one container's log: the one before the rotation, and the current one.
type logFiles struct {
	dir     *os.File
	name    string
	current *os.File // nil before the file was there
	in      *bufio.Reader
	rest    []byte // a line that has no end yet
}

// openLog opens the folder of a log below root, following no links. A log that is not there is NotFound.
func openLog(root, name string) (*logFiles, error) {
	top, err := os.Open(root)
	if err != nil {
		return nil, fmt.Errorf("logs: %w", err)
	}
	defer top.Close()
	dir, err := openBelow(top, path.Dir(path.Clean("/" + name)[1:]), unix.O_DIRECTORY)
	if isMissing(err) {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "logs"}, name)
	}
	if err != nil {
		return nil, err
	}
	l := &logFiles{dir: dir, name: path.Base(name), in: bufio.NewReaderSize(nil, 32<<10)}
	// What cannot be opened is told before the answer begins.
	if err := l.each((*os.File).Close); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// openBelow opens a file or folder below dir. Links are refused, in the middle and at the end, and opening a pipe
// does not block.
func openBelow(dir *os.File, name string, flags uint64) (*os.File, error) {
	fd, err := unix.Openat2(int(dir.Fd()), name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | flags,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path.Join(dir.Name(), name), Err: err}
	}
	f := os.NewFile(uintptr(fd), path.Join(dir.Name(), name))
	info, err := f.Stat()
	if err == nil && flags&unix.O_DIRECTORY == 0 && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", f.Name())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (l *logFiles) close() {
	if l.current != nil {
		l.current.Close()
	}
	l.dir.Close()
}

// each opens the files that there are, the older first.
func (l *logFiles) each(visit func(f *os.File) error) error {
	for _, name := range []string{l.name + rotated, l.name} {
		f, err := openBelow(l.dir, name, 0)
		if isMissing(err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

// count counts the log's lines.
func (l *logFiles) count(ctx context.Context) (lines int64, err error) {
	err = l.each(func(f *os.File) error {
		defer f.Close()
		l.in.Reset(f)
		_, err := readRecords(ctx, l.in, nil, func(line []byte) error {
			if r, ok := parse(line); ok && r.full {
				lines++
			}
			return nil
		})
		return err
	})
	return lines, err
}

// printAll prints what there is, and stays at the end of the current file.
func (l *logFiles) printAll(ctx context.Context, out *printer) error {
	return l.each(func(f *os.File) error {
		if l.current != nil {
			l.current.Close()
		}
		l.current = f
		l.in.Reset(f)
		l.rest = l.rest[:0]
		return l.printRest(ctx, out)
	})
}

// printRest prints up to the end of the file.
func (l *logFiles) printRest(ctx context.Context, out *printer) (err error) {
	l.rest, err = readRecords(ctx, l.in, l.rest, out.print)
	return err
}

// printMore prints what has come since, also when the file was rotated meanwhile.
func (l *logFiles) printMore(ctx context.Context, out *printer) error {
	if l.current != nil {
		if err := l.printRest(ctx, out); err != nil {
			return err
		}
	}
	next, err := openBelow(l.dir, l.name, 0)
	if isMissing(err) { // between the renaming and the new file
		return nil
	}
	if err != nil {
		return err
	}
	if l.current != nil {
		same, err := sameFile(l.current, next)
		if err != nil || same {
			return errors.Join(err, next.Close())
		}
		// What was written between the last look and the rotation.
		if err := l.printRest(ctx, out); err != nil {
			return errors.Join(err, next.Close())
		}
		l.current.Close()
	}
	l.current = next
	l.in.Reset(next)
	l.rest = l.rest[:0]
	return l.printRest(ctx, out)
}

func sameFile(a, b *os.File) (bool, error) {
	x, err := a.Stat()
	if err != nil {
		return false, err
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y), err
}
