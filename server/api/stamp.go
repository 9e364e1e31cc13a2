package api

import (
	"encoding/binary"

	"github.com/holt-project/holt/fsm"
)

// The protobuf tags by which a stored object is told its resource version: every kind has its ObjectMeta first, in
// which every string before the resource version stands in the order of its number. A test over the registry holds it.
const (
	tagMetadata        = 1<<3 | 2
	tagResourceVersion = 6<<3 | 2
)

// maxHeads is more than the made segments of an object take: two lengths and a revision.
const maxHeads = 48

// stamped returns the protobuf message of a stored object as segments: its bytes in the store, which hold no resource
// version, with that put in. To copy them is quicker than to look an encoding up that would have to be kept, so there is
// no cache of protobuf. It reports false for an object that is not stored in that form.
func stamped(o *fsm.Object) (segments [4][]byte, ok bool) {
	raw := o.Raw
	if len(raw) == 0 || raw[0] != tagMetadata {
		return segments, false
	}
	length, n := binary.Uvarint(raw[1:])
	begin := 1 + n
	if n <= 0 || length > uint64(len(raw)-begin) {
		return segments, false
	}
	at, ok := emptyRevision(raw[begin : begin+int(length)])
	if !ok {
		return segments, false
	}
	const empty = 2 // the tag and a length of zero
	revision := o.Value.GetResourceVersion()
	heads := make([]byte, 0, maxHeads)
	heads = append(heads, tagResourceVersion)
	heads = binary.AppendUvarint(heads, uint64(len(revision)))
	heads = append(heads, revision...)
	field := len(heads)
	heads = append(heads, tagMetadata)
	heads = binary.AppendUvarint(heads, length-empty+uint64(field))
	return [4][]byte{heads[field:], raw[begin : begin+at], heads[:field], raw[begin+at+empty:]}, true
}

// emptyRevision finds the empty resource version in an ObjectMeta.
func emptyRevision(meta []byte) (at int, ok bool) {
	for at < len(meta) {
		tag := meta[at]
		length, n := binary.Uvarint(meta[at+1:])
		switch {
		case n <= 0 || tag > tagResourceVersion || tag&7 != 2:
			return 0, false
		case tag == tagResourceVersion:
			return at, length == 0 && n == 1
		case length > uint64(len(meta)-at-1-n):
			return 0, false
		}
		at += 1 + n + int(length)
	}
	return 0, false
}

// protobufBytes returns the bare protobuf message of an object.
func protobufBytes(o *fsm.Object) ([]byte, error) {
	segments, ok := stamped(o)
	if !ok {
		return marshal(o.Value)
	}
	return join(segments[:]), nil
}
