package protocol

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// MaxMessage bounds one message in bytes, its line end included. A container's
// spec can hold a megabyte of environment; nothing else comes close.
const MaxMessage = 4 << 20

// ErrTooLarge is a message over MaxMessage.
var ErrTooLarge = fmt.Errorf("message is larger than %d bytes", MaxMessage)

// Write sends one message.
func Write(w io.Writer, message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(data) >= MaxMessage {
		return ErrTooLarge
	}
	_, err = w.Write(append(data, '\n'))
	return err
}

// Reader reads messages from one connection.
type Reader struct{ lines *bufio.Reader }

// NewReader reads from r, which nobody else may read from then on.
func NewReader(r io.Reader) *Reader { return &Reader{lines: bufio.NewReaderSize(r, 4096)} }

// Read fills in message, a pointer. It holds no more than MaxMessage bytes, and
// only what has really arrived. After an error the connection is of no more use.
// io.EOF means that the peer closed between two messages.
func (r *Reader) Read(message any) error {
	var line []byte
	for {
		part, err := r.lines.ReadSlice('\n')
		if len(line)+len(part) > MaxMessage {
			return ErrTooLarge
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if err := json.Unmarshal(line, message); err != nil {
			return fmt.Errorf("message is not valid: %w", err)
		}
		return nil
	}
}

// SocketAddress calls use with an address of the socket in dir. A unix address
// holds 108 bytes, which the path of a pod's folder may exceed; so it goes
// through a descriptor of the folder, open while use runs.
func SocketAddress(dir string, use func(*net.UnixAddr) error) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	return use(&net.UnixAddr{Net: "unix", Name: "/proc/self/fd/" + strconv.Itoa(fd) + "/" + SocketName})
}

// StdinPath is the named pipe to the standard input of a container that was
// created with Stdin. Whoever writes to it need not be connected to the shim.
func StdinPath(dir, id string) string { return filepath.Join(dir, StdinIn, id) }
