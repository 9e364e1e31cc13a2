package crilog

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"time"
)

// MaxLine is the longest text of one line, in bytes, as in containerd and CRI-O.
const MaxLine = 16 << 10

// batch is how much formatted text may gather while more input is at hand.
const batch = 32 << 10

// Stream says where a line came from.
type Stream string

// The streams of a container.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// Copy reads from until its end or an error (a closed file, a deadline, the
// hang-up of a terminal), and logs each line with the time when it was read.
// A last line without an end is logged as a full one.
func (l *Log) Copy(from io.Reader, stream Stream) {
	in := bufio.NewReaderSize(from, MaxLine)
	var out []byte
	for {
		text, err := in.ReadSlice('\n')
		switch {
		case err == nil:
			out = appendLine(out, stream, 'F', text[:len(text)-1])
		case errors.Is(err, bufio.ErrBufferFull):
			out = appendLine(out, stream, 'P', text)
		case len(text) > 0:
			out = appendLine(out, stream, 'F', text)
		}
		ended := err != nil && !errors.Is(err, bufio.ErrBufferFull)
		if ended || len(out) >= batch || !lineWaits(in) {
			if len(out) > 0 {
				l.write(out)
			}
			out = out[:0]
		}
		if ended {
			return
		}
	}
}

// lineWaits: the next line can be had without waiting for the container.
func lineWaits(in *bufio.Reader) bool {
	waiting, _ := in.Peek(in.Buffered())
	return len(waiting) == MaxLine || bytes.IndexByte(waiting, '\n') >= 0
}

func appendLine(out []byte, stream Stream, tag byte, text []byte) []byte {
	out = time.Now().UTC().AppendFormat(out, time.RFC3339Nano)
	out = append(out, ' ')
	out = append(out, stream...)
	out = append(out, ' ', tag, ' ')
	out = append(out, text...)
	return append(out, '\n')
}
