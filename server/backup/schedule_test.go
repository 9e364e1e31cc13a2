package backup_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holt-project/holt/server/backup"
)

// plenty is a disk that is never full.
func plenty(string) (uint64, error) { return 1 << 40, nil }

func schedule(t *testing.T, dir string, c *cluster, free func(string) (uint64, error)) *backup.Schedule {
	return &backup.Schedule{
		Dir: dir, Interval: 6 * time.Hour, Keep: 3, Free: free, Log: slog.New(slog.DiscardHandler),
		Saver: backup.NewSaver(c, holding(newRing(t)), here),
	}
}

// running runs the schedule until stop is called.
func running(t *testing.T, s *backup.Schedule) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	synctest.Wait()
	return func() { cancel(); <-done }
}

// made tells when the files were made, and that each is sound.
func made(t *testing.T, s *backup.Schedule) string {
	t.Helper()
	entries, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var times []string
	for _, e := range entries {
		if e.Error != "" || e.Bytes == 0 || e.Key == "" {
			t.Errorf("%+v", e)
		}
		times = append(times, e.Created.Format("02T15:04"))
	}
	return strings.Join(times, " ")
}

func TestSchedule(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	synctest.Test(t, func(t *testing.T) { // begins on 2000-01-01
		c := newCluster(t, "a")
		s := schedule(t, dir, c, plenty)
		stop := running(t, s)
		if got := made(t, s); got != "01T00:00" {
			t.Errorf("at once: %s", got)
		}
		time.Sleep(13 * time.Hour)
		synctest.Wait()
		if got := made(t, s); got != "01T00:00 01T06:00 01T12:00" {
			t.Errorf("after 13 hours: %s", got)
		}
		stop()
		foreign, half := filepath.Join(dir, "holt-mine.snapshot"), filepath.Join(dir, "holt-20000101T130000Z.snapshot.new")
		for _, path := range []string{foreign, half} {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Hour)
		stop = running(t, s) // a restart is no reason for another one
		if got := made(t, s); got != "01T00:00 01T06:00 01T12:00" {
			t.Errorf("after a restart: %s", got)
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if got := made(t, s); got != "01T06:00 01T12:00 01T18:00" {
			t.Errorf("when the next was due: %s", got)
		}
		stop()
		if _, err := os.Stat(foreign); err != nil {
			t.Errorf("a file of another name: %v", err)
		}
		if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what a crash has left: %v", err)
		}
		if st := s.Status(); st.Error != "" || st.Newest.Hour() != 18 || st.Dir != dir {
			t.Errorf("%+v", st)
		}
		time.Sleep(30 * time.Hour)
		stop = running(t, s) // overdue
		if got := made(t, s); got != "01T12:00 01T18:00 03T00:00" {
			t.Errorf("after a long rest: %s", got)
		}
		stop()
	})
}

func TestFailedSchedulesAreToldAndTriedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "a")
		var free atomic.Uint64
		free.Store(1 << 40)
		s := schedule(t, dir, c, func(string) (uint64, error) { return free.Load(), nil })
		stop := running(t, s)
		defer stop()
		fail := func(what, want string, begin, end func()) {
			t.Helper()
			begin()
			before := made(t, s)
			time.Sleep(6*time.Hour + 10*time.Second)
			synctest.Wait()
			if got := s.Status().Error; !strings.Contains(got, want) || made(t, s) != before {
				t.Errorf("%s: error %q; there are %s, before %s", what, got, made(t, s), before)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "*.new")); err != nil || len(left) > 0 {
				t.Errorf("%s: half a file is left: %v, %v", what, left, err)
			}
			end()
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if got := s.Status().Error; got != "" || made(t, s) == before {
				t.Errorf("%s: it was not made good: %s, %s", what, got, made(t, s))
			}
		}
		fail("no quorum", "lost", func() { c.lost.set(errors.New("lost")) }, func() { c.lost.set(nil) })
		fail("a full disk", backup.ErrDiskFull.Error(), func() { free.Store(200 << 20) }, func() { free.Store(1 << 40) })
	})
}

func TestListTellsOfUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "holt-20000101T130000Z.snapshot"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	entries, err := schedule(t, dir, newCluster(t), nil).List()
	if err != nil || len(entries) != 1 || entries[0].Error == "" || entries[0].Bytes != 1 {
		t.Errorf("%+v, %v", entries, err)
	}
	none, err := schedule(t, filepath.Join(dir, "none"), newCluster(t), nil).List()
	if err != nil || none == nil || len(none) != 0 {
		t.Errorf("%v, %v", none, err)
	}
}
