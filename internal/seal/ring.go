package seal

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	secretSize = 32
	idSize     = 8
	// maxKeys bounds what a damaged or hostile ring can make us do. Rotation leaves two keys, for a while.
	maxKeys = 64
)

var (
	// ErrUnknownKey says that the ring lacks the key with which something was sealed; the error names its ID.
	ErrUnknownKey = errors.New("the key ring lacks the key")
	// ErrTampered says that what was to be opened is not what was sealed, or not for this context.
	ErrTampered = errors.New("it is not what was sealed here")
	// ErrInvalid says that a ring cannot be read, or cannot become what was asked for.
	ErrInvalid = errors.New("the key ring is not valid")
)

// Key is one key of a ring.
type Key struct {
	// ID names the key. It is made of the secret and does not tell it.
	ID      string
	Secret  [secretSize]byte
	Created time.Time
}

// String keeps the secret out of logs.
func (k Key) String() string { return "key " + k.ID }

// GoString implements fmt.GoStringer, for the same reason.
func (k Key) GoString() string { return k.String() }

// newKey completes a key of the given secret.
func newKey(secret [secretSize]byte, created time.Time) (Key, error) {
	id, err := hkdf.Key(sha256.New, secret[:], nil, "holt seal: key id", idSize)
	return Key{ID: hex.EncodeToString(id), Secret: secret, Created: created.UTC().Truncate(time.Second)}, err
}

// member is a key of a ring, ready for use.
type member struct {
	Key
	header   [idSize]byte // the ID, as it stands before what is sealed
	messages *extended
}

func newMember(k Key) (member, error) {
	m := member{Key: k}
	if _, err := hex.Decode(m.header[:], []byte(k.ID)); err != nil {
		return member{}, err
	}
	secret, err := hkdf.Key(sha256.New, k.Secret[:], nil, "holt seal: messages", secretSize)
	if err != nil {
		return member{}, err
	}
	m.messages, err = newExtended(secret)
	return m, err
}

// Ring is some keys. The first seals, all of them open. A Ring never changes; the zero Ring has no key.
type Ring struct{ members []member }

// NewRing makes a ring of one new key.
func NewRing(now time.Time) (Ring, error) { return Ring{}.Add(now) }

// Add returns the ring with a new key, which becomes the primary one. It says that it was made after all others, whatever
// the clock says.
func (r Ring) Add(now time.Time) (Ring, error) {
	for _, k := range r.Keys() {
		if next := k.Created.Add(time.Second); now.Before(next) {
			now = next
		}
	}
	var secret [secretSize]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return Ring{}, err
	}
	k, err := newKey(secret, now)
	if err != nil {
		return Ring{}, err
	}
	return ringOf(append([]Key{k}, r.Keys()...))
}

// Drop returns the ring without a key. What was sealed with it is lost then. The primary key cannot be dropped.
func (r Ring) Drop(id string) (Ring, error) {
	switch {
	case !r.Has(id):
		return Ring{}, fmt.Errorf("%w %s", ErrUnknownKey, id)
	case id == r.Primary():
		return Ring{}, fmt.Errorf("%w without its primary key %s: rotate first", ErrInvalid, id)
	}
	rest := slices.Clone(r.members)
	return Ring{slices.DeleteFunc(rest, func(m member) bool { return m.ID == id })}, nil
}

// With returns the ring with those keys of other that it lacks; they come last.
func (r Ring) With(other Ring) (Ring, error) {
	keys := r.Keys()
	for _, k := range other.Keys() {
		if !r.Has(k.ID) {
			keys = append(keys, k)
		}
	}
	return ringOf(keys)
}

// First returns the ring with the keys of these IDs first, in this order. IDs that it lacks count for nothing.
func (r Ring) First(ids ...string) Ring {
	at := func(m member) int {
		if i := slices.Index(ids, m.ID); i >= 0 {
			return i
		}
		return len(ids)
	}
	out := slices.Clone(r.members)
	slices.SortStableFunc(out, func(a, b member) int { return at(a) - at(b) })
	return Ring{out}
}

// Only returns the ring with those of its keys that have one of these IDs, in its own order.
func (r Ring) Only(ids ...string) Ring {
	others := func(m member) bool { return !slices.Contains(ids, m.ID) }
	return Ring{slices.DeleteFunc(slices.Clone(r.members), others)}
}

// ringOf makes a ring of keys, the primary one first.
func ringOf(keys []Key) (Ring, error) {
	if len(keys) > maxKeys {
		return Ring{}, fmt.Errorf("%w: %d keys are more than %d; drop some", ErrInvalid, len(keys), maxKeys)
	}
	var r Ring
	for _, k := range keys {
		m, err := newMember(k)
		if err != nil {
			return Ring{}, fmt.Errorf("%w: key %q: %w", ErrInvalid, k.ID, err)
		}
		r.members = append(r.members, m)
	}
	return r, nil
}

// Primary returns the ID of the key that seals; empty for the zero Ring.
func (r Ring) Primary() string {
	if len(r.members) == 0 {
		return ""
	}
	return r.members[0].ID
}

// Has tells whether the key of that ID is in the ring.
func (r Ring) Has(id string) bool {
	return slices.ContainsFunc(r.members, func(m member) bool { return m.ID == id })
}

// Keys returns the keys, the primary one first.
func (r Ring) Keys() []Key {
	keys := make([]Key, len(r.members))
	for i, m := range r.members {
		keys[i] = m.Key
	}
	return keys
}

// IDs returns the keys' IDs, the primary one first.
func (r Ring) IDs() []string {
	ids := make([]string, len(r.members))
	for i, m := range r.members {
		ids[i] = m.ID
	}
	return ids
}

// Equal tells whether two rings have the same keys in the same order.
func (r Ring) Equal(other Ring) bool { return slices.Equal(r.Keys(), other.Keys()) }

// String keeps the secrets out of logs.
func (r Ring) String() string { return fmt.Sprintf("keys %v", r.IDs()) }

// GoString implements fmt.GoStringer, for the same reason.
func (r Ring) GoString() string { return r.String() }

// primary returns the key that seals.
func (r Ring) primary() (*member, error) {
	if len(r.members) == 0 {
		return nil, fmt.Errorf("%w: it has no key", ErrInvalid)
	}
	return &r.members[0], nil
}

// find returns the key whose ID stands in a header.
func (r Ring) find(id []byte) (*member, error) {
	for i := range r.members {
		if string(r.members[i].header[:]) == string(id) {
			return &r.members[i], nil
		}
	}
	return nil, fmt.Errorf("%w %x", ErrUnknownKey, id)
}
