package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	chunkSize    = 64 << 10
	saltSize     = 32
	streamHeader = HeaderSize + saltSize
)

var errClosed = errors.New("write to a closed stream")

// chunks seals or opens the chunks of one stream, in order.
type chunks struct {
	aead  cipher.AEAD
	bound []byte // the stream's header and context
	next  uint64
}

func (m *member) chunks(header, context []byte) (chunks, error) {
	key, err := hkdf.Key(sha256.New, m.Secret[:], header[HeaderSize:streamHeader], "holt seal: stream", secretSize)
	if err != nil {
		return chunks{}, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return chunks{}, err
	}
	aead, err := cipher.NewGCM(block)
	return chunks{aead: aead, bound: bound(header, context)}, err
}

// nonce returns that of the next chunk: its number, and whether it is the last.
func (c *chunks) nonce(last bool) []byte {
	nonce := make([]byte, 12)
	binary.BigEndian.PutUint64(nonce[3:], c.next)
	c.next++
	if last {
		nonce[11] = 1
	}
	return nonce
}

// writer seals a stream.
type writer struct {
	to io.Writer
	chunks
	buf []byte // of the next chunk, not sealed yet; with room for its tag
	err error  // after which nothing more is written
}

// NewWriter begins a sealed stream on w, for a context that is needed again to open it. The stream is whole once Close
// has returned nil; Close does not close w. It needs memory for one chunk.
func (r Ring) NewWriter(w io.Writer, context []byte) (io.WriteCloser, error) {
	m, err := r.primary()
	if err != nil {
		return nil, err
	}
	header := m.appendHeader(make([]byte, 0, streamHeader), formatStream)[:streamHeader]
	if _, err := rand.Read(header[HeaderSize:]); err != nil {
		return nil, err
	}
	c, err := m.chunks(header, context)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(header); err != nil {
		return nil, err
	}
	return &writer{to: w, chunks: c, buf: make([]byte, 0, chunkSize+tagSize)}, nil
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (n int, err error) {
	for len(p) > 0 && w.err == nil {
		if len(w.buf) == chunkSize { // only now is it known not to be the last
			w.flush(false)
			continue
		}
		part := p[:min(len(p), chunkSize-len(w.buf))]
		w.buf, p, n = append(w.buf, part...), p[len(part):], n+len(part)
	}
	return n, w.err
}

// Close seals the end of the stream.
func (w *writer) Close() error {
	if w.err != nil {
		return w.err
	}
	w.flush(true)
	err := w.err
	w.err = errors.Join(err, errClosed)
	return err
}

func (w *writer) flush(last bool) {
	_, w.err = w.to.Write(w.aead.Seal(w.buf[:0], w.nonce(last), w.buf, w.bound))
	w.buf = w.buf[:0]
}

// reader opens a stream.
type reader struct {
	from io.Reader
	chunks
	buf  []byte // room for a chunk and the first byte after it
	peek []byte // the first byte of the next chunk, if it has been read
	rest []byte // of the present chunk, opened, in buf
	err  error  // what to return once rest is empty
}

// NewReader opens a stream that was sealed for this context. It and the reader fail with ErrUnknownKey, with ErrTampered
// if the stream was changed, cut or continued, or with the error of from. What was read before an error is genuine, but
// only io.EOF says that it was all. It needs memory for one chunk.
func (r Ring) NewReader(from io.Reader, context []byte) (io.Reader, error) {
	header := make([]byte, streamHeader)
	if _, err := io.ReadFull(from, header); isEnd(err) {
		return nil, fmt.Errorf("%w: a stream that ends in its header", ErrTampered)
	} else if err != nil {
		return nil, err
	}
	if header[0] != formatStream {
		return nil, fmt.Errorf("%w: no sealed stream begins so", ErrTampered)
	}
	m, err := r.find(header[1:HeaderSize])
	if err != nil {
		return nil, err
	}
	c, err := m.chunks(header, context)
	if err != nil {
		return nil, err
	}
	return &reader{from: from, chunks: c, buf: make([]byte, chunkSize+tagSize+1)}, nil
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		r.fill()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// fill opens the next chunk. A byte after it says that it is not the last.
func (r *reader) fill() {
	held := copy(r.buf, r.peek)
	n, err := io.ReadFull(r.from, r.buf[held:])
	if err != nil && !isEnd(err) {
		r.err = err
		return
	}
	last, number, text := err != nil, r.next, r.buf[:held+n]
	if !last {
		text = text[:chunkSize+tagSize]
		r.peek = append(r.peek[:0], r.buf[len(text)])
	}
	r.rest, err = r.aead.Open(text[:0], r.nonce(last), text, r.bound)
	switch {
	case err != nil, last && len(r.rest) == 0 && number > 0: // an empty chunk is only ever the first
		r.rest, r.err = nil, fmt.Errorf("%w: chunk %d of a stream", ErrTampered, number)
	case last:
		r.err = io.EOF
	}
}

// PlainSize returns the length of what was sealed as a stream of the given length. It fails with ErrTampered.
func PlainSize(sealed int64) (int64, error) {
	const chunk = chunkSize + tagSize
	body := sealed - streamHeader
	if whole, part := body/chunk, body%chunk; part > tagSize || body >= chunk && part == 0 || body == tagSize {
		if part != 0 {
			whole++
		}
		return body - whole*tagSize, nil
	}
	return 0, fmt.Errorf("%w: no stream has %d bytes", ErrTampered, sealed)
}
