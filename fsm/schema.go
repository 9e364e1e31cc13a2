package fsm

import "fmt"

// IndexFunc returns the values under which an object is found in an index. It must be a pure function.
type IndexFunc func(Value) []string

// Resource describes one kind of object to the store. It is made from the kind's registration.
type Resource struct {
	// Name is the group resource, for example "pods" or "deployments.apps".
	Name string
	// Decode turns the bytes of a command into an object. It must be a pure function.
	Decode func(raw []byte) (Value, error)
	// Indexes are kept for this resource alone, by name.
	Indexes map[string]IndexFunc
}

// Schema is what the store knows about kinds. It is read-only once a Store uses it.
type Schema struct {
	resources map[string]Resource
	shared    map[string]IndexFunc
	maxState  int64
}

// MaxState is the bound of a schema's state that is not given another: about 2 GiB of encoded objects.
const MaxState = 8 << 30

// NewSchema makes a schema of resources, and of indexes that span all of them (objects by owner).
// It panics on a duplicate or incomplete resource, because that is a mistake in a registration.
func NewSchema(shared map[string]IndexFunc, resources ...Resource) *Schema {
	s := &Schema{resources: make(map[string]Resource, len(resources)), shared: shared, maxState: MaxState}
	for _, r := range resources {
		if _, dup := s.resources[r.Name]; dup || r.Name == "" || r.Decode == nil {
			panic(fmt.Sprintf("fsm: resource %q is registered twice or is incomplete", r.Name))
		}
		s.resources[r.Name] = r
	}
	return s
}

// Bounded returns the schema with another bound on the memory that the objects of a state take, in bytes. Like the
// decoders the bound decides what Apply does, so it must be the same on every server: a constant of the build, and
// never a setting.
func (s *Schema) Bounded(bytes int64) *Schema {
	bounded := *s
	bounded.maxState = bytes
	return &bounded
}

// reserved is the part of the bound that only objects on their way out may use: to mark one for deletion makes it
// larger, and must not fail because the state is full.
const reserved = 16

// fits reports whether a state may grow to size by o.
func (s *Schema) fits(size int64, o *Object) bool {
	if o.Value.GetDeletionTimestamp() != nil {
		return size <= s.maxState
	}
	return size <= s.maxState-s.maxState/reserved
}
