package backup

import (
	"encoding/binary"
	"io"
)

// maxFrame bounds a frame, and so the memory that a damaged length can ask for, in bytes.
const maxFrame = 64 << 10

// frameWriter cuts a stream of unknown length into frames: four bytes of length, and as many of data. One of length 0 is
// the end.
type frameWriter struct {
	w   io.Writer
	buf []byte // 4 bytes for the length, and the data of the next frame
}

func newFrameWriter(w io.Writer) *frameWriter {
	return &frameWriter{w: w, buf: make([]byte, 4, 4+maxFrame)}
}

func (f *frameWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), cap(f.buf)-len(f.buf))]
		f.buf, p, n = append(f.buf, part...), p[len(part):], n+len(part)
		if len(f.buf) == cap(f.buf) {
			if err := f.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// flush writes the frame as it is; an empty one ends the stream.
func (f *frameWriter) flush() error {
	binary.BigEndian.PutUint32(f.buf, uint32(len(f.buf)-4))
	_, err := f.w.Write(f.buf)
	f.buf = f.buf[:4]
	return err
}

// end writes what is left, and the end.
func (f *frameWriter) end() error {
	if len(f.buf) > 4 {
		if err := f.flush(); err != nil {
			return err
		}
	}
	return f.flush()
}

// frameReader is the inverse of frameWriter. It returns io.EOF only if done, which checks what follows the end, agrees.
type frameReader struct {
	r    io.Reader
	done func() error
	left uint32 // of the present frame
	err  error  // for ever
}

func (f *frameReader) Read(p []byte) (int, error) {
	for f.left == 0 && f.err == nil {
		f.err = f.next()
	}
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.r.Read(p[:min(len(p), int(f.left))])
	f.left -= uint32(n)
	if err != nil {
		f.err = broken(err)
	}
	return n, f.err
}

// next begins the next frame.
func (f *frameReader) next() error {
	var length [4]byte
	if _, err := io.ReadFull(f.r, length[:]); err != nil {
		return broken(err)
	}
	f.left = binary.BigEndian.Uint32(length[:])
	switch {
	case f.left > maxFrame:
		f.left = 0
		return ErrDamaged
	case f.left > 0:
		return nil
	}
	if err := f.done(); err != nil {
		return err
	}
	return io.EOF
}
