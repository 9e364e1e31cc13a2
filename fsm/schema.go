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
}

// NewSchema makes a schema of resources, and of indexes that span all of them (objects by owner).
// It panics on a duplicate or incomplete resource, because that is a mistake in a registration.
func NewSchema(shared map[string]IndexFunc, resources ...Resource) *Schema {
	s := &Schema{resources: make(map[string]Resource, len(resources)), shared: shared}
	for _, r := range resources {
		if _, dup := s.resources[r.Name]; dup || r.Name == "" || r.Decode == nil {
			panic(fmt.Sprintf("fsm: resource %q is registered twice or is incomplete", r.Name))
		}
		s.resources[r.Name] = r
	}
	return s
}
