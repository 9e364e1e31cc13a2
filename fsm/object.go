package fsm

import (
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

	encoded encoded
}

// What an object takes in memory beyond its bytes and their decoded form, and how many times its bytes those two
// take together: measured on pods of 1.5 KB, which take 6.5 KB. The footprint is also what bounds the state, so these
// numbers are in no case changed without a version of the command's format.
const (
	objectOverhead  = 1024
	footprintFactor = 4
)

// footprint is about what the object takes in memory without its encodings, in bytes; 0 for none.
func (o *Object) footprint() int64 {
	if o == nil {
		return 0
	}
	return objectOverhead + footprintFactor*int64(len(o.Raw))
}

// Encoded returns what encode makes of the object; every call must pass the same function. It is called once for each
// revision, whoever asks, while the store keeps the bytes: it drops those that were not used for longest when it keeps
// too much. They serve every get, list and watch and must not be changed.
func (o *Object) Encoded(encode func(Value) ([]byte, error)) ([]byte, error) {
	return o.encoded.of(o.Value, encode)
}
