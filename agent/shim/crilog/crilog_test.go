package crilog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/holt-project/holt/agent/shim/crilog"
)

func open(t *testing.T, max int64) (*crilog.Log, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pod", "0.log")
	l, err := crilog.Open(path, max)
	if err != nil {
		t.Fatal(err)
	}
	return l, path
}

// parse splits a log into its entries, without their times.
func parse(t interface{ Fatalf(string, ...any) }, log []byte) (entries []string) {
	for line := range bytes.Lines(log) {
		when, rest, found := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		if _, err := time.Parse(time.RFC3339Nano, when); err != nil || !found {
			t.Fatalf("line %q: %v", line, err)
		}
		entries = append(entries, rest)
	}
	return entries
}

func TestEachLineIsOneEntry(t *testing.T) {
	l, path := open(t, 0)
	l.Copy(strings.NewReader("one\n\ntwo"), crilog.Stdout)
	l.Copy(strings.NewReader("three\n"), crilog.Stderr)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"stdout F one", "stdout F ", "stdout F two", "stderr F three"}
	if diff := cmp.Diff(want, parse(t, log)); diff != "" {
		t.Error(diff)
	}
}

// Whatever is written comes back, in parts that are never too long.
func TestNothingIsLostOrAdded(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n))
		var input []byte
		for range rapid.IntRange(0, 5).Draw(t, "pieces") {
			size := rapid.SampledFrom([]int{0, 1, 100, crilog.MaxLine - 1, crilog.MaxLine, crilog.MaxLine + 1, 40000}).Draw(t, "size")
			input = append(append(input, bytes.Repeat([]byte("x"), size)...), '\n')
		}
		chunk := rapid.SampledFrom([]int{1, 7, 4096, 1 << 20}).Draw(t, "chunk")
		l, err := crilog.Open(path, 0)
		if err != nil {
			t.Fatal(err)
		}
		l.Copy(&slow{input, chunk}, crilog.Stdout)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		log, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var output []byte
		for _, entry := range parse(t, log) {
			text := entry[len("stdout F "):]
			if len(text) > crilog.MaxLine {
				t.Fatalf("an entry of %d bytes", len(text))
			}
			output = append(output, text...)
			if strings.HasPrefix(entry, "stdout F ") {
				output = append(output, '\n')
			}
		}
		if !bytes.Equal(input, output) {
			t.Fatalf("%d bytes in, %d bytes out, or others", len(input), len(output))
		}
	})
}

// slow gives at most chunk bytes at once.
type slow struct {
	rest  []byte
	chunk int
}

func (s *slow) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.chunk)], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// A line shows as soon as it is complete, without waiting for more.
func TestALineIsWrittenAtOnce(t *testing.T) {
	l, path := open(t, 0)
	r, w := io.Pipe()
	var copying sync.WaitGroup
	copying.Go(func() { l.Copy(r, crilog.Stdout) })
	for i := range 3 {
		fmt.Fprintf(w, "line %d\npart", i)
		w.Write(nil) // returns when Copy reads again, so has written what it had
		log, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(parse(t, log)); got != i+1 {
			t.Errorf("%d entries after line %d", got, i)
		}
	}
	w.Close()
	copying.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRotatesAndKeepsOneOldFile(t *testing.T) {
	l, path := open(t, 100)
	for i := range 50 {
		l.Copy(strings.NewReader(fmt.Sprintf("line %d\n", i)), crilog.Stdout)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v, %v; want two files", entries, err)
	}
	old, err := os.ReadFile(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := parse(t, append(old, log...))
	if last := got[len(got)-1]; last != "stdout F line 49" {
		t.Errorf("last entry is %q", last)
	}
	for i, entry := range got {
		if want := fmt.Sprintf("stdout F line %d", 50-len(got)+i); entry != want {
			t.Errorf("entry %q, want %q", entry, want)
		}
	}
}

func TestRefusesWhatIsNotAFileOfItsOwn(t *testing.T) {
	for name, create := range map[string]func(target, path string) error{
		"a symbolic link": os.Symlink,
		"a hard link":     os.Link,
		"a named pipe":    func(_, path string) error { return unix.Mkfifo(path, 0o600) },
		"a folder":        func(_, path string) error { return os.Mkdir(path, 0o700) },
	} {
		dir := t.TempDir()
		target := filepath.Join(dir, "target")
		if err := os.WriteFile(target, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := create(target, filepath.Join(dir, "0.log")); err != nil {
			t.Fatal(err)
		}
		if l, err := crilog.Open(filepath.Join(dir, "0.log"), 0); err == nil {
			l.Close()
			t.Errorf("%s was accepted as a log", name)
		}
	}
}

// A log that cannot be written loses text; the container never waits for it.
func TestAFullDiskStopsNobody(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	l, err := crilog.Open(filepath.Join(dir, "0.log"), 0)
	if err != nil {
		t.Fatal(err)
	}
	in := strings.NewReader(strings.Repeat("0123456789\n", 100_000))
	l.Copy(in, crilog.Stdout)
	if in.Len() != 0 {
		t.Errorf("%d bytes were not read", in.Len())
	}
	if err := l.Close(); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "lost") {
		t.Errorf("close says %v, want ENOSPC and the loss", err)
	}
}
