package streams

import (
	"bufio"
	"bytes"
	"errors"
	"time"
)

// maxRecord bounds one record of a log, in bytes: its text is at most 16 KiB (package crilog).
const maxRecord = 17 << 10

// errLimit ends a log that has reached limitBytes.
var errLimit = errors.New("limit of bytes reached")

// printer turns records into what the client asked for.
type printer struct {
	to    *bufio.Writer
	flush func() error
	o     options
	skip  int64 // lines still to leave out
	open  bool  // the last record was a part of a line
}

// record is one line of a log in the CRI format: TIME STREAM F|P TEXT.
type record struct {
	time, text []byte
	full       bool // it ends its line
}

// parse takes a line apart; ok is false for what is no record, such as a line that a full disk cut off.
func parse(line []byte) (r record, ok bool) {
	var tag []byte
	r.time, line, _ = bytes.Cut(line, []byte(" "))
	_, line, _ = bytes.Cut(line, []byte(" "))
	tag, r.text, ok = bytes.Cut(line, []byte(" "))
	r.full = len(tag) > 0 && tag[0] == 'F'
	return r, ok && (r.full || len(tag) > 0 && tag[0] == 'P')
}

// print prints one line of the file.
func (p *printer) print(line []byte) error {
	r, ok := parse(line)
	if !ok {
		return nil
	}
	if p.skip > 0 {
		if r.full {
			p.skip--
		}
		return nil
	}
	if !p.o.since.IsZero() {
		if when, err := time.Parse(time.RFC3339Nano, string(r.time)); err == nil && when.Before(p.o.since) {
			return nil
		}
	}
	if p.o.timestamps && !p.open {
		if err := errors.Join(p.write(r.time), p.write([]byte(" "))); err != nil {
			return err
		}
	}
	if err := p.write(r.text); err != nil {
		return err
	}
	if p.open = !r.full; p.open {
		return nil
	}
	return p.write([]byte("\n"))
}

// write writes up to the limit.
func (p *printer) write(text []byte) error {
	if p.o.limit < 0 {
		_, err := p.to.Write(text)
		return err
	}
	n := min(int64(len(text)), p.o.limit)
	p.o.limit -= n
	if _, err := p.to.Write(text[:n]); err != nil {
		return err
	}
	if n < int64(len(text)) || p.o.limit == 0 {
		if err := p.end(); err != nil {
			return err
		}
		return errLimit
	}
	return nil
}

// end sends what was printed.
func (p *printer) end() error {
	if err := p.to.Flush(); err != nil {
		return err
	}
	return p.flush()
}
