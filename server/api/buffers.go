package api

import (
	"bytes"
	"sync"
)

// bufferSize is how much is collected before it is written: a response of many small pieces would otherwise be as many
// frames of the connection.
const bufferSize = 64 << 10

// buffers are those that no response uses now.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func newBuffer() *bytes.Buffer { return buffers.Get().(*bytes.Buffer) }

// releaseBuffer takes a buffer back, unless it has grown beyond what is worth keeping.
func releaseBuffer(b *bytes.Buffer) {
	if b.Cap() <= 2*bufferSize {
		b.Reset()
		buffers.Put(b)
	}
}
