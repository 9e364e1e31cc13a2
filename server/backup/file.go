package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/holt-project/holt/internal/seal"
)

const (
	// magic begins every file; the version of the format, one byte, follows it.
	magic         = "holt-backup"
	formatVersion = 1
	// maxHeader bounds the header, in bytes.
	maxHeader = 64 << 10
)

// What reading a file fails with; compare with errors.Is.
var (
	// ErrNotBackup says that the file is something else.
	ErrNotBackup = errors.New("it is not a snapshot that holt snapshot save has written")
	// ErrVersion says that the file is of a version that this binary does not know.
	ErrVersion = errors.New("the snapshot was written by a newer Holt: use that one")
	// ErrDamaged says that the file is not what was written.
	ErrDamaged = errors.New("the snapshot is damaged or cut short")
	// ErrSealed says that the file cannot be opened without another key ring; the error names the key.
	ErrSealed = errors.New("the snapshot is sealed with a key that is not in the key ring")
)

// broken is what an error of the underlying reader means for the file.
func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrDamaged
	}
	return err
}

// Header says what a file holds. It is not secret.
type Header struct {
	Created time.Time `json:"created"`
	// Cluster is the fingerprint of the cluster's CA, Server the name of the server that wrote the file.
	Cluster string `json:"cluster"`
	Server  string `json:"server"`
	// Holt and Kubernetes are the versions of the binary and of the API that it serves.
	Holt       string `json:"holt"`
	Kubernetes string `json:"kubernetes"`
	// ClusterCIDR and ServiceCIDR are the ranges that addresses in the state come from.
	ClusterCIDR string `json:"clusterCIDR"`
	ServiceCIDR string `json:"serviceCIDR"`
	// Revision, Index, Objects and Digest are the state's.
	Revision uint64 `json:"revision"`
	Index    uint64 `json:"index"`
	Objects  int    `json:"objects"`
	Digest   string `json:"digest"`
	// Key is the ID of the key that sealed the body; empty if it is plain.
	Key string `json:"key,omitempty"`
}

// encode returns everything before the body.
func (h Header) encode() ([]byte, error) {
	data, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if len(data) > maxHeader {
		return nil, fmt.Errorf("the header of the snapshot has %d bytes", len(data))
	}
	head := append([]byte(magic), formatVersion)
	return append(binary.BigEndian.AppendUint32(head, uint32(len(data))), data...), nil
}

// Write writes a file of the state that body writes, sealed with the ring's primary key, or plain if it has none.
func Write(w io.Writer, h Header, ring seal.Ring, body io.WriterTo) error {
	h.Key = ring.Primary()
	head, err := h.encode()
	if err != nil {
		return err
	}
	sum := sha256.New()
	all := io.MultiWriter(w, sum)
	if _, err := all.Write(head); err != nil {
		return err
	}
	frames := newFrameWriter(all)
	if err := writeBody(frames, head, ring, body); err != nil {
		return err
	}
	if err := frames.end(); err != nil {
		return err
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

func writeBody(w io.Writer, head []byte, ring seal.Ring, body io.WriterTo) error {
	if ring.Primary() == "" {
		_, err := body.WriteTo(w)
		return err
	}
	sealed, err := ring.NewWriter(w, head)
	if err != nil {
		return err
	}
	if _, err := body.WriteTo(sealed); err != nil {
		return err // never closed, and so never whole
	}
	return sealed.Close()
}

// File is a file that is being read, from the front to the end.
type File struct {
	Header
	head []byte
	r    io.Reader // all but the head
	sum  hash.Hash // of what was read so far, up to the checksum
	body *frameReader
}

// Open reads the header. Nothing of it is certain before the body was read to its end.
func Open(from io.Reader) (*File, error) {
	r := bufio.NewReaderSize(from, maxFrame)
	head := make([]byte, len(magic)+1+4)
	if _, err := io.ReadFull(r, head); err != nil && !errors.Is(broken(err), ErrDamaged) {
		return nil, err
	}
	if string(head[:len(magic)]) != magic {
		return nil, ErrNotBackup
	}
	if head[len(magic)] != formatVersion {
		return nil, ErrVersion
	}
	size := binary.BigEndian.Uint32(head[len(magic)+1:])
	if size > maxHeader {
		return nil, ErrDamaged
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, broken(err)
	}
	f := &File{head: append(head, data...), r: r, sum: sha256.New()}
	if err := json.Unmarshal(data, &f.Header); err != nil {
		return nil, fmt.Errorf("%w: its header: %v", ErrDamaged, err)
	}
	f.sum.Write(f.head)
	f.body = &frameReader{r: io.TeeReader(r, f.sum), done: f.checksum}
	return f, nil
}

// checksum reads the end of the file.
func (f *File) checksum() error {
	want := f.sum.Sum(nil)
	got := make([]byte, len(want)+1)
	n, err := io.ReadFull(f.r, got)
	if err != nil && !errors.Is(broken(err), ErrDamaged) {
		return err
	}
	if !bytes.Equal(got[:n], want) {
		return ErrDamaged
	}
	return nil
}

// Verify reads the rest of the file and fails unless its checksum is right.
func (f *File) Verify() error {
	_, err := io.Copy(io.Discard, f.body)
	return err
}

// Body returns the state machine's snapshot. It returns io.EOF only if the whole file, and if it is sealed every byte of
// it, is what was written. It fails with ErrSealed.
func (f *File) Body(ring seal.Ring) (io.Reader, error) {
	if f.Key == "" {
		return f.body, nil
	}
	if !ring.Has(f.Key) {
		return nil, fmt.Errorf("%w: %s", ErrSealed, f.Key)
	}
	opened, err := ring.NewReader(f.body, f.head)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return genuine{opened}, nil
}

// genuine names what seal says of a damaged body.
type genuine struct{ r io.Reader }

func (g genuine) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	if errors.Is(err, seal.ErrTampered) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return n, err
}

// Reopen writes the file plain, as one that any cluster can read: its body is opened with the ring.
func (f *File) Reopen(w io.Writer, ring seal.Ring) error {
	body, err := f.Body(ring)
	if err != nil {
		return err
	}
	return Write(w, f.Header, seal.Ring{}, copying{body})
}

// copying makes an io.WriterTo of a reader.
type copying struct{ r io.Reader }

func (c copying) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, c.r) }
