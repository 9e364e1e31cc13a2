package api

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/holt-project/holt/fsm"
)

// message is what generated types with a protobuf form implement.
type message interface{ Marshal() ([]byte, error) }

// protobufMagic begins every protobuf body of Kubernetes; a runtime.Unknown follows.
const protobufMagic = "k8s\x00"

// errNoProtobuf is 406: the client must ask for JSON.
func errNoProtobuf(v any) error {
	return statusError(406, metav1.StatusReasonNotAcceptable, "object %T does not implement the protobuf marshalling interface "+
		"and cannot be encoded to a protobuf message", v)
}

// itemBytes returns a stored object's bytes: the JSON text, which is cached, or the bare protobuf message.
func itemBytes(o *fsm.Object, f format) ([]byte, error) {
	if f == formatProtobuf {
		return protobufBytes(o)
	}
	return o.Encoded(func(v fsm.Value) ([]byte, error) { return json.Marshal(v) })
}

func marshal(v any) ([]byte, error) {
	m, ok := v.(message)
	if !ok {
		return nil, errNoProtobuf(v)
	}
	return m.Marshal()
}

// The protobuf numbers of runtime.Unknown.
const (
	tagUnknownType  = 1<<3 | 2
	tagUnknownRaw   = 2<<3 | 2
	tagUnknownCode  = 3<<3 | 2
	tagUnknownMedia = 4<<3 | 2
)

// enveloped wraps a bare protobuf message for the wire, as a runtime.Unknown. The message comes and goes in segments,
// which are not copied.
func enveloped(gvk schema.GroupVersionKind, raw [][]byte) [][]byte {
	var t runtime.TypeMeta
	t.APIVersion, t.Kind = gvk.ToAPIVersionAndKind()
	meta, _ := t.Marshal() // two strings: cannot fail
	head := append([]byte(protobufMagic), header(tagUnknownType, len(meta))...)
	head = append(head, meta...)
	head = append(head, header(tagUnknownRaw, length(raw))...)
	segments := append(make([][]byte, 0, len(raw)+2), head)
	segments = append(segments, raw...)
	return append(segments, []byte{tagUnknownCode, 0, tagUnknownMedia, 0})
}

// encodeItem returns a stored object's complete body in format f.
func encodeItem(o *fsm.Object, f format) ([]byte, error) {
	data, err := itemBytes(o, f)
	if err != nil {
		return nil, err
	}
	return finish(data, o.Value.GetObjectKind().GroupVersionKind(), f)
}

// encodeValue returns the complete body of any object; its kind and version must be set.
func encodeValue(v runtime.Object, f format) ([]byte, error) {
	var data []byte
	var err error
	if f == formatProtobuf {
		data, err = marshal(v)
	} else {
		data, err = json.Marshal(v)
	}
	if err != nil {
		return nil, err
	}
	return finish(data, v.GetObjectKind().GroupVersionKind(), f)
}

func finish(data []byte, gvk schema.GroupVersionKind, f format) ([]byte, error) {
	switch f {
	case formatProtobuf:
		return join(enveloped(gvk, [][]byte{data})), nil
	case formatYAML:
		return yaml.JSONToYAML(data)
	}
	return data, nil
}

// encodeList joins the bytes of a list's items. They are the list's segments in order: JSON is not copied.
func encodeList(gvk schema.GroupVersionKind, meta metav1.ListMeta, items []*fsm.Object, f format) ([][]byte, error) {
	if f == formatProtobuf {
		return protobufList(gvk, meta, items)
	}
	segments, err := jsonList(gvk, meta, items)
	if err != nil || f == formatJSON {
		return segments, err
	}
	data, err := yaml.JSONToYAML(join(segments))
	return [][]byte{data}, err
}

func jsonList(gvk schema.GroupVersionKind, meta metav1.ListMeta, items []*fsm.Object) ([][]byte, error) {
	m, err := json.Marshal(meta)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf(`{"kind":%q,"apiVersion":%q,"metadata":%s,"items":[`, gvk.Kind, gvk.GroupVersion().String(), m)
	segments := make([][]byte, 0, 2*len(items)+2)
	segments = append(segments, []byte(head))
	for i, o := range items {
		data, err := itemBytes(o, formatJSON)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			segments = append(segments, []byte(","))
		}
		segments = append(segments, data)
	}
	return append(segments, []byte("]}")), nil
}

// The protobuf numbers that all lists and runtime.Unknown share; a test over the registry holds them.
const (
	tagListMeta  = 1<<3 | 2
	tagListItems = 2<<3 | 2
)

func protobufList(gvk schema.GroupVersionKind, meta metav1.ListMeta, items []*fsm.Object) ([][]byte, error) {
	m, err := meta.Marshal()
	if err != nil {
		return nil, err
	}
	segments := make([][]byte, 0, 5*len(items)+2)
	segments = append(segments, header(tagListMeta, len(m)), m)
	for _, o := range items {
		if parts, ok := stamped(o); ok {
			segments = append(segments, header(tagListItems, length(parts[:])))
			segments = append(segments, parts[:]...)
			continue
		}
		data, err := marshal(o.Value)
		if err != nil {
			return nil, err
		}
		segments = append(segments, header(tagListItems, len(data)), data)
	}
	return enveloped(gvk, segments), nil
}

// header is a protobuf field's tag and length.
func header(tag byte, n int) []byte { return binary.AppendUvarint([]byte{tag}, uint64(n)) }

// length is what the segments take together, in bytes.
func length(segments [][]byte) int {
	n := 0
	for _, s := range segments {
		n += len(s)
	}
	return n
}

func join(segments [][]byte) []byte {
	all := make([]byte, 0, length(segments))
	for _, s := range segments {
		all = append(all, s...)
	}
	return all
}
