package kinds

import (
	"fmt"

	"github.com/holt-project/holt/fsm"
)

// message is what k8s.io/api's generated types implement.
type message interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// Encode returns the bytes under which the store keeps v: protobuf without the resource version, which the store
// assigns. v is left as it was. The bytes of equal objects are equal.
func (k *Kind) Encode(v fsm.Value) ([]byte, error) {
	if k.Version != nil {
		return k.Version.Of.Encode(k.Version.To(v))
	}
	m, ok := v.(message)
	if !ok {
		return nil, fmt.Errorf("encode %s: %T has no protobuf form", k.GVK.Kind, v)
	}
	revision := v.GetResourceVersion()
	v.SetResourceVersion("")
	defer v.SetResourceVersion(revision)
	data, err := m.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", k.GVK.Kind, err)
	}
	return data, nil
}

// Decode is the inverse of Encode. The object knows its kind and API version.
func (k *Kind) Decode(raw []byte) (fsm.Value, error) {
	if k.Version != nil {
		v, err := k.Version.Of.Decode(raw)
		if err != nil {
			return nil, err
		}
		return k.ShownValue(v), nil
	}
	v := k.New()
	m, ok := v.(message)
	if !ok {
		return nil, fmt.Errorf("decode %s: %T has no protobuf form", k.GVK.Kind, v)
	}
	if err := m.Unmarshal(raw); err != nil {
		return nil, fmt.Errorf("decode %s: %w", k.GVK.Kind, err)
	}
	v.GetObjectKind().SetGroupVersionKind(k.GVK)
	if k.Restore != nil {
		k.Restore(v)
	}
	return v, nil
}
