package fsm

import (
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Value is a decoded API object.
type Value interface {
	runtime.Object
	metav1.Object
}

// Key names one object. Resource is the group resource, for example "pods" or "deployments.apps"; Namespace is
// empty for a cluster-scoped object.
type Key struct {
	Resource  string
	Namespace string
	Name      string
}

func (k Key) String() string {
	if k.Namespace == "" {
		return k.Resource + "/" + k.Name
	}
	return k.Resource + "/" + k.Namespace + "/" + k.Name
}

// Object is one object at one revision. It is immutable and shared: neither Raw nor Value may be changed.
type Object struct {
	Key
	// Revision is the number of the change that made this object what it is.
	Revision uint64
	// Raw is the encoding that the command carried. It holds no resource version.
	Raw []byte
	// Value is Raw decoded, with its resource version set to Revision.
	Value Value

	encodings sync.Map // format -> *encoding
}

type encoding struct {
	once sync.Once
	data []byte
	err  error
}

// Encoded returns the object's bytes in the given format. It calls encode at most once for each format and
// revision, whoever asks; the bytes serve every get, list and watch and must not be changed.
func (o *Object) Encoded(format string, encode func(Value) ([]byte, error)) ([]byte, error) {
	slot, ok := o.encodings.Load(format)
	if !ok {
		slot, _ = o.encodings.LoadOrStore(format, &encoding{})
	}
	e := slot.(*encoding)
	e.once.Do(func() { e.data, e.err = encode(o.Value) })
	return e.data, e.err
}
