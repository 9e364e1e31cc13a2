package streams

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"time"
)

// logHandler serves the logs of containers.
type logHandler struct {
	cfg    Config
	source Source
	log    *slog.Logger
}

func (h *logHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o, err := parseOptions(r.URL.Query(), time.Now())
	if err != nil {
		writeError(w, err, h.log)
		return
	}
	path, done, err := h.source.ContainerLog(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"), o.previous)
	if err != nil {
		writeError(w, err, h.log)
		return
	}
	out := &printer{to: bufio.NewWriterSize(w, 32<<10), o: o, flush: func() error {
		// A proxy in between need not support it.
		if err := http.NewResponseController(w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		return nil
	}}
	files, err := openLog(h.cfg.LogDir, path)
	if err != nil {
		writeError(w, err, h.log)
		return
	}
	defer files.close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	err = h.serve(r.Context(), files, out, done)
	if err != nil && !errors.Is(err, errLimit) && r.Context().Err() == nil {
		// The answer has begun; all that is left is to break it off, so that it does not look whole.
		h.log.Warn("a log was broken off", "log", path, "error", err)
		if err := http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0)); err != nil {
			h.log.Debug("the answer ends as if it were whole", "error", err)
		}
	}
}

// serve prints the log, and what comes if it is followed.
func (h *logHandler) serve(ctx context.Context, files *logFiles, out *printer, done <-chan struct{}) error {
	var changes <-chan struct{}
	if out.o.follow {
		w, err := watchDir(files.dir)
		if err != nil {
			return err
		}
		defer w.close()
		changes = w.changes
	}
	if out.o.tail >= 0 {
		lines, err := files.count(ctx)
		if err != nil {
			return err
		}
		out.skip = max(0, lines-out.o.tail)
	}
	if err := files.printAll(ctx, out); err != nil || !out.o.follow {
		return errors.Join(err, out.end())
	}
	for {
		if err := out.end(); err != nil { // what was read so far goes out
			return err
		}
		last := false
		select {
		case <-changes:
		case <-done:
			last = true
		case <-ctx.Done():
			return nil
		}
		if err := files.printMore(ctx, out); err != nil {
			return err
		}
		if last {
			return out.end()
		}
	}
}

// isMissing: a log that nobody has written to yet, or any more.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// readRecords gives each whole line to visit, without its end. What is longer than a line can be is left out, in
// pieces. It returns what is left of a line that has no end yet.
func readRecords(ctx context.Context, in *bufio.Reader, rest []byte, visit func(line []byte) error) ([]byte, error) {
	for ctx.Err() == nil {
		part, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			if rest = append(rest, part...); len(rest) > maxRecord {
				rest = rest[:maxRecord] // no record of ours; it will not parse
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			if len(rest)+len(part) <= maxRecord {
				rest = append(rest, part...)
			}
			return rest, nil
		}
		if err != nil {
			return rest, err
		}
		line := part
		if len(rest) > 0 {
			line = append(rest, part...)
		}
		if err := visit(line[:len(line)-1]); err != nil {
			return nil, err
		}
		rest = rest[:0]
	}
	return rest, ctx.Err()
}
