package fsm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The first bytes of the commands that are not ops. They are in the log and in no case change.
const (
	commandStage   = 'S'
	commandReplace = 'R'
)

// Encoder is a command: Command, Stage or Replace.
type Encoder interface {
	// Encode returns the command's bytes for the log.
	Encode() ([]byte, error)
}

// Stage is a command: one piece of a snapshot that is to replace the state. The pieces are part of the state, and of
// its snapshots, until Replace has used them or another staging begins. Its one Result has Err alone.
type Stage struct {
	// ID names the restore that the piece belongs to.
	ID string `cbor:"1,keyasint"`
	// Offset is the size of all pieces before. The piece at 0 drops whatever was staged.
	Offset uint64 `cbor:"2,keyasint"`
	Data   []byte `cbor:"3,keyasint,omitempty"`
	// Drop gives the restore up: what was staged for it goes, and the rest of the command means nothing.
	Drop bool `cbor:"4,keyasint,omitempty"`
}

// Encode returns the command's bytes for the log.
func (c Stage) Encode() ([]byte, error) { return encodeCommand(commandStage, c) }

// Replace is a command: it replaces all objects, except those that Keep selects, with those of the snapshot that was
// staged, at once. Every restored object gets a revision of its own, above all that the state or the snapshot knew, so
// nothing that a client has cached passes for it; all watches are cut. A snapshot that is damaged, or that holds what
// this binary cannot decode, changes nothing. What was staged is dropped either way.
type Replace struct {
	ID string `cbor:"1,keyasint"`
	// Size is that of all pieces.
	Size uint64 `cbor:"2,keyasint"`
	// Keep selects objects that stay as they are now; those in the snapshot are left out.
	Keep []Selection `cbor:"3,keyasint,omitempty"`
}

// Encode returns the command's bytes for the log.
func (c Replace) Encode() ([]byte, error) { return encodeCommand(commandReplace, c) }

// Selection selects objects of one resource and namespace.
type Selection struct {
	Resource  string `cbor:"1,keyasint"`
	Namespace string `cbor:"2,keyasint,omitempty"`
	Name      string `cbor:"3,keyasint"`
	// Prefix selects all whose names begin with Name, instead of the one that has it.
	Prefix bool `cbor:"4,keyasint,omitempty"`
}

func (s Selection) selects(k Key) bool {
	if k.Resource != s.Resource || k.Namespace != s.Namespace {
		return false
	}
	return k.Name == s.Name || s.Prefix && strings.HasPrefix(k.Name, s.Name)
}

func (c Replace) keeps(k Key) bool {
	for _, s := range c.Keep {
		if s.selects(k) {
			return true
		}
	}
	return false
}

// Replaced tells what a Replace has done.
type Replaced struct {
	// Before is the revision that the state had, Snapshot that of the snapshot, and After the state's now.
	Before, Snapshot, After uint64
	// Objects counts what came from the snapshot, Kept what stayed.
	Objects, Kept int
}

func encodeCommand(kind byte, c any) ([]byte, error) {
	data, err := encMode.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	return append([]byte{kind}, data...), nil
}

// restores reports whether an entry of the log is a Stage or a Replace.
func restores(data []byte) bool {
	return len(data) > 0 && (data[0] == commandStage || data[0] == commandReplace)
}

// CheckCommand fails if an entry of the log is no command that Apply can read.
func CheckCommand(data []byte) error {
	var err error
	if restores(data) {
		_, err = decodeRestore(data)
	} else {
		_, err = DecodeCommand(data)
	}
	return err
}

// decodeRestore returns a *Stage or a *Replace.
func decodeRestore(data []byte) (any, error) {
	var c any = &Stage{}
	if data[0] == commandReplace {
		c = &Replace{}
	}
	if err := decMode.Unmarshal(data[1:], c); err != nil {
		return nil, fmt.Errorf("decode command: %w", err)
	}
	return c, nil
}

// applyRestore carries out a Stage or a Replace.
func (s *Store) applyRestore(index uint64, data []byte) ([]Result, error) {
	c, err := decodeRestore(data)
	if err != nil {
		return nil, err
	}
	if stage, ok := c.(*Stage); ok {
		return []Result{s.stage(index, *stage)}, nil
	}
	return []Result{s.replace(index, *c.(*Replace))}, nil
}

func (s *Store) stage(index uint64, c Stage) Result {
	next := *s.state.Load()
	staged, err := next.staged.with(c)
	next.index, next.staged = index, staged
	s.publish(&next, nil, nil, nil)
	return Result{Err: err}
}

func (s *Store) replace(index uint64, c Replace) Result {
	now := s.state.Load()
	next, done, err := s.replaced(now, index, c)
	if err == nil {
		s.reset(next)
		return Result{Replaced: done}
	}
	same := *now
	same.index = index
	if !errors.Is(err, ErrNotStaged) { // it is somebody else's
		same.staged = nil
	}
	s.publish(&same, nil, nil, nil)
	return Result{Err: err}
}

// replaced returns the state after c.
func (s *Store) replaced(now *state, index uint64, c Replace) (*state, *Replaced, error) {
	if !now.staged.is(c.ID, c.Size) {
		return nil, nil, ErrNotStaged
	}
	from, err := s.readSnapshot(now.staged.reader())
	if err != nil {
		return nil, nil, err
	}
	done := &Replaced{Before: now.revision, Snapshot: from.revision}
	t := now.txn(s.schema, s.cache, index)
	t.staged = nil
	for o := range walk(now.objects, nil) {
		if c.keeps(o.Key) {
			done.Kept++
		} else {
			t.remove(o)
		}
	}
	t.revision = max(now.revision, from.revision)
	for o := range walk(from.objects, nil) {
		if c.keeps(o.Key) {
			continue
		}
		t.revision++
		done.Objects++
		// Nobody else has seen the object yet.
		o.Revision = t.revision
		o.Value.SetResourceVersion(strconv.FormatUint(t.revision, 10))
		t.put(nil, o)
	}
	if done.Objects == 0 {
		t.revision++ // what went is a change too
	}
	done.After = t.revision
	next, _ := t.commit()
	return next, done, nil
}

// Staged returns the ID of the restore whose snapshot is staged; empty if there is none.
func (v View) Staged() string {
	if v.s.staged == nil {
		return ""
	}
	return v.s.staged.id
}

// Unstaged returns the view without a snapshot that is staged in it: what a backup holds.
func (v View) Unstaged() View {
	bare := *v.s
	bare.staged = nil
	return View{&bare}
}
