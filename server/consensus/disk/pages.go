package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// bbolt's file format (internal/common in its source). Numbers are of the machine's byte order.
const (
	headerSize  = 16 // of a page: id 8, flags 2, count 2, overflow 4
	elementSize = 16 // branch: pos 4, key size 4, page 8; leaf: flags 4, pos 4, key size 4, value size 4
	bucketSize  = 16 // root page 8, sequence 8; a bucket without a root page has its only page behind this

	branchPage    = 0x01
	leafPage      = 0x02
	bucketElement = 0x01

	metaRoot, metaPages, metaSum = 16, 40, 56 // offsets behind the header of page 0 or 1
)

// checkPages reads all that can be reached in the file before bbolt trusts it: bbolt has checksums over its two meta
// pages alone, uses the older one in silence if the newer is not whole, and some damage ends the process where nobody
// can catch it. It fails with an error of bbolt.Open, or one that wraps ErrDamaged.
//
// A meta page is smaller than a disk's sector, so a write that was interrupted leaves it whole, old or new. bbolt packs
// pages without gaps, so a page of which some elements are hidden shows that.
func checkPages(path string) error {
	if info, err := os.Stat(path); err == nil && info.Size() < int64(2*os.Getpagesize()) { // bbolt has no error to tell it by
		return fmt.Errorf("%w: %s ends before its second page", ErrDamaged, path)
	}
	// The shared lock keeps everybody away who might write.
	db, err := bbolt.Open(path, 0, &bbolt.Options{Timeout: lockWait, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	p := &pages{file: f, size: db.Info().PageSize, seen: map[uint64]bool{0: true, 1: true}}
	if err := p.check(); err != nil {
		return fmt.Errorf("%w: %s: %v", ErrDamaged, path, err)
	}
	return nil
}

type pages struct {
	file  *os.File
	size  int
	count uint64 // pages in use; those behind are not yet written
	seen  map[uint64]bool
}

func (p *pages) check() error {
	var root, newest uint64
	for id := range uint64(2) {
		page := make([]byte, p.size)
		if _, err := p.file.ReadAt(page, int64(id)*int64(p.size)); err != nil {
			return err
		}
		meta := page[headerSize:]
		sum := fnv.New64a()
		_, _ = sum.Write(meta[:metaSum])
		if sum.Sum64() != number(meta[metaSum:]) {
			return fmt.Errorf("meta page %d does not have its checksum", id)
		}
		if tx := number(meta[metaSum-8:]); tx >= newest {
			newest, root, p.count = tx, number(meta[metaRoot:]), number(meta[metaPages:])
		}
	}
	return p.tree(root, nil, nil)
}

// tree checks a page and those below it: their keys are from low on, and below high, where these are not nil.
func (p *pages) tree(id uint64, low, high []byte) error {
	page, err := p.read(id)
	if err != nil {
		return err
	}
	if err := p.elements(page, low, high); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// read returns a page with its overflow. Each is in one place only.
func (p *pages) read(id uint64) ([]byte, error) {
	header := make([]byte, headerSize)
	if id >= p.count {
		return nil, fmt.Errorf("there is no page %d", id)
	}
	if _, err := p.file.ReadAt(header, int64(id)*int64(p.size)); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	more := uint64(binary.NativeEndian.Uint32(header[12:]))
	if number(header) != id || more >= p.count-id {
		return nil, fmt.Errorf("page %d says that it is page %d with %d more", id, number(header), more)
	}
	for i := id; i <= id+more; i++ {
		if p.seen[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		p.seen[i] = true
	}
	page := make([]byte, (more+1)*uint64(p.size))
	if _, err := p.file.ReadAt(page, int64(id)*int64(p.size)); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return page, nil
}

// elements checks those of one page.
func (p *pages) elements(page, low, high []byte) error {
	flags, count := binary.NativeEndian.Uint16(page[8:]), int(binary.NativeEndian.Uint16(page[10:]))
	if flags != leafPage && (flags != branchPage || count == 0) {
		return fmt.Errorf("it has the flags %#x and %d elements", flags, count)
	}
	all := make([]element, 0, count)
	next := headerSize + count*elementSize // where the next data is
	for i := range count {
		e, end, err := parse(page, i, next, flags == leafPage)
		if err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
		if low != nil && bytes.Compare(e.key, low) < 0 || high != nil && bytes.Compare(e.key, high) >= 0 ||
			i > 0 && bytes.Compare(e.key, all[i-1].key) <= 0 {
			return fmt.Errorf("element %d is out of order", i)
		}
		all, next = append(all, e), end
	}
	for i, e := range all {
		upper := high
		if i+1 < count {
			upper = all[i+1].key
		}
		if err := p.below(e, upper); err != nil {
			return err
		}
	}
	return nil
}

type element struct {
	key, value []byte
	bucket     bool
	page       uint64 // of a branch
}

// parse reads element i, whose data must begin at next, and returns where it ends.
func parse(page []byte, i, next int, leaf bool) (element, int, error) {
	at := headerSize + i*elementSize
	if at+elementSize > len(page) {
		return element{}, 0, errors.New("it is outside the page")
	}
	var e element
	raw := page[at:]
	fields := raw[:8] // position and size of the key
	size := 0
	if leaf {
		kind := binary.NativeEndian.Uint32(raw)
		if kind > bucketElement {
			return e, 0, fmt.Errorf("it has the flags %#x", kind)
		}
		e.bucket = kind == bucketElement
		fields, size = raw[4:12], int(binary.NativeEndian.Uint32(raw[12:]))
	} else {
		e.page = number(raw[8:])
	}
	pos, key := int(binary.NativeEndian.Uint32(fields)), int(binary.NativeEndian.Uint32(fields[4:]))
	if at+pos != next || next+key+size > len(page) {
		return e, 0, fmt.Errorf("its data is at %d with %d bytes, not at %d", at+pos, key+size, next)
	}
	e.key, e.value = page[next:next+key], page[next+key:next+key+size]
	return e, next + key + size, nil
}

// below checks what an element leads to. Its key is the lowest there.
func (p *pages) below(e element, upper []byte) error {
	switch {
	case e.page != 0:
		return p.tree(e.page, e.key, upper)
	case !e.bucket:
		return nil
	case len(e.value) < bucketSize:
		return errors.New("a bucket is cut short")
	}
	if root := number(e.value); root != 0 {
		return p.tree(root, nil, nil)
	}
	inline := e.value[bucketSize:]
	if len(inline) < headerSize {
		return errors.New("a bucket is cut short")
	}
	return p.elements(inline, nil, nil)
}

func number(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }

// isNew tells whether there is no log yet. It is the first file of a folder: if others are there, the log was lost.
func isNew(dir, path string) (bool, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > 0 {
		return false, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			return false, fmt.Errorf("%w: %s is missing or empty, but there is %s", ErrDamaged, path, e.Name())
		}
	}
	return true, err
}
