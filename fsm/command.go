package fsm

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Verb is what an Op does.
type Verb uint8

// The verbs. Their numbers are in the log and in no case change.
const (
	Create Verb = 1
	Update Verb = 2
	Delete Verb = 3
)

// Op is one change of one object, with its preconditions.
type Op struct {
	Verb      Verb   `cbor:"1,keyasint"`
	Resource  string `cbor:"2,keyasint"`
	Namespace string `cbor:"3,keyasint,omitempty"`
	Name      string `cbor:"4,keyasint"`
	// IfRevision, unless zero, must be the object's present revision.
	IfRevision uint64 `cbor:"5,keyasint,omitempty"`
	// IfUID, unless empty, must be the object's present UID.
	IfUID string `cbor:"6,keyasint,omitempty"`
	// Raw is the whole new object (create and update), or the final state that a delete's event shows
	// (optional; the stored object if empty).
	Raw []byte `cbor:"7,keyasint,omitempty"`
}

// Key returns the name of the object that the op changes.
func (o Op) Key() Key { return Key{o.Resource, o.Namespace, o.Name} }

// Command is one entry of the Raft log: ops that are applied in order, each for itself. A conflict fails its own
// op only.
type Command struct {
	Ops []Op `cbor:"1,keyasint"`
}

// commandVersion is the first byte of every encoded command.
const commandVersion = 1

var (
	encMode = mustMode(cbor.CoreDetEncOptions().EncMode())
	decMode = mustMode(cbor.DecOptions{MaxArrayElements: 1 << 20}.DecMode())
)

func mustMode[M any](m M, err error) M {
	if err != nil {
		panic(err) // constant options: cannot fail
	}
	return m
}

// Encode returns the command's bytes for the log.
func (c Command) Encode() ([]byte, error) {
	data, err := encMode.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	return append([]byte{commandVersion}, data...), nil
}

// DecodeCommand is the inverse of Encode. It refuses unknown versions and trailing bytes.
func DecodeCommand(data []byte) (Command, error) {
	var c Command
	if len(data) == 0 || data[0] != commandVersion {
		return c, errors.New("decode command: not a command of a version that this binary knows")
	}
	if err := decMode.Unmarshal(data[1:], &c); err != nil {
		return c, fmt.Errorf("decode command: %w", err)
	}
	return c, nil
}

// Failed preconditions, as they stand in Result.Err.
var (
	ErrExists          = errors.New("object exists already")
	ErrNotFound        = errors.New("object not found")
	ErrConflict        = errors.New("object has changed since")
	ErrUnknownResource = errors.New("resource is not registered")
	ErrUndecodable     = errors.New("object cannot be decoded")
	ErrBadName         = errors.New("object has no possible name")
)

// Result tells what became of one op.
type Result struct {
	// Object is the stored object, or the deleted one with the deletion's revision; after a failed
	// precondition the object that stood in the way, if there is one.
	Object *Object
	// Err is nil or one of the errors above; compare with errors.Is.
	Err error
	// Replaced is set for a Replace that was carried out.
	Replaced *Replaced
}
