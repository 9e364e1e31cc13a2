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
	// Void changes nothing, and gives a request up: ops with its ID that come later are not applied. If the request
	// was applied before, its outcome stands, and is the result.
	Void Verb = 4
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
	// Request, unless its ID is zero, is the request that the op carries out: it is applied once at most.
	Request Request `cbor:"8,keyasint,omitzero"`
}

// Key returns the name of the object that the op changes.
func (o Op) Key() Key { return Key{o.Resource, o.Namespace, o.Name} }

// Command is one entry of the Raft log: ops that are applied in order, each for itself. A conflict fails its own
// op only.
type Command struct {
	Ops []Op `cbor:"1,keyasint"`
}

// The first byte of every encoded command is the version of its format. Ops of the first have no Request. A binary
// that does not know requests must not read such ops, because it would apply them twice where others do not.
const (
	commandWithoutRequests = 1
	commandVersion         = 2
)

var (
	encMode = mustMode(cbor.CoreDetEncOptions().EncMode())
	decMode = mustMode(cbor.DecOptions{
		MaxArrayElements: 1 << 20, DupMapKey: cbor.DupMapKeyEnforcedAPF, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode())
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

// DecodeCommand is the inverse of Encode, and reads what older versions have encoded. It refuses unknown versions,
// unknown or repeated fields, and trailing bytes.
func DecodeCommand(data []byte) (Command, error) {
	var c Command
	if len(data) == 0 || data[0] < commandWithoutRequests || data[0] > commandVersion {
		return c, errors.New("decode command: not a command of a version that this binary knows")
	}
	if err := decMode.Unmarshal(data[1:], &c); err != nil {
		return Command{}, fmt.Errorf("decode command: %w", err)
	}
	for _, op := range c.Ops {
		if data[0] == commandWithoutRequests && op.Request != (Request{}) {
			return Command{}, errors.New("decode command: a request in a command of a version without them")
		}
	}
	return c, nil
}

// What an op fails with, as it stands in Result.Err.
var (
	ErrExists          = errors.New("object exists already")
	ErrNotFound        = errors.New("object not found")
	ErrConflict        = errors.New("object has changed since")
	ErrUnknownResource = errors.New("resource is not registered")
	ErrUndecodable     = errors.New("object cannot be decoded")
	ErrBadName         = errors.New("object has no possible name")
	// ErrFull says that the state has no room for what the op would add.
	ErrFull = errors.New("the cluster's state is as large as it may be: delete what is not needed")
	// ErrVoid says that the op's request was given up before.
	ErrVoid = errors.New("the request was given up")
	// ErrForgotten says that the op's request is so old that its outcome, if it had one, is no longer known.
	ErrForgotten = errors.New("the request is too old to tell whether it was applied")
)

// Result tells what became of one op.
type Result struct {
	// Object is the stored object, or the deleted one with the deletion's revision; after a failed
	// precondition the object that stood in the way, if there is one. If Earlier is set, it is the object at
	// that revision, or nil if that is no longer known.
	Object *Object
	// Earlier is set if the op's request was applied before, and the op therefore was not.
	Earlier *Outcome
	// Err is nil or one of the errors above; compare with errors.Is.
	Err error
	// Replaced is set for a Replace that was carried out.
	Replaced *Replaced
}
