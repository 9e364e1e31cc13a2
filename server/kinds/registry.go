package kinds

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/holt-project/holt/fsm"
)

// ByOwner is the shared index of objects by the UIDs of their owners.
const ByOwner = "owner"

// Registry is the set of kinds that a server knows.
type Registry struct {
	kinds      []*Kind // those that are stored
	served     []*Kind // and their other versions
	byResource map[schema.GroupVersionResource]*Kind
	byKind     map[schema.GroupVersionKind]*Kind
	byStore    map[string]*Kind
	byType     map[reflect.Type]*Kind
}

// NewRegistry makes a registry. It panics on a duplicate, because that is a mistake in a registration.
func NewRegistry(all ...*Kind) *Registry {
	r := &Registry{
		byResource: map[schema.GroupVersionResource]*Kind{},
		byKind:     map[schema.GroupVersionKind]*Kind{},
		byStore:    map[string]*Kind{},
		byType:     map[reflect.Type]*Kind{},
	}
	for _, k := range all {
		if r.byKind[k.GVK] != nil || k.Version == nil && r.byStore[k.StoredAs()] != nil {
			panic(fmt.Sprintf("kinds: %s is registered twice", k.GVK))
		}
		r.byResource[k.GVR()], r.byKind[k.GVK] = k, k
		r.byType[reflect.TypeOf(k.New())] = k
		r.served = append(r.served, k)
		if k.Version == nil {
			r.byStore[k.StoredAs()] = k
			r.kinds = append(r.kinds, k)
		}
	}
	slices.SortStableFunc(r.kinds, byName)
	slices.SortStableFunc(r.served, byName)
	return r
}

// byName leaves the versions of a kind in the order in which they are registered.
func byName(a, b *Kind) int {
	return cmp.Or(strings.Compare(a.GVK.Group, b.GVK.Group), strings.Compare(a.Resource, b.Resource))
}

// All returns the kinds that are stored, ordered by group and resource. The slice must not be changed.
func (r *Registry) All() []*Kind { return r.kinds }

// Served returns the kinds in all versions, in the same order; of each the preferred version comes first. The slice must
// not be changed.
func (r *Registry) Served() []*Kind { return r.served }

// ByResource finds a kind by its place in URLs, or returns nil.
func (r *Registry) ByResource(gvr schema.GroupVersionResource) *Kind { return r.byResource[gvr] }

// ByKind finds a kind by its type on the wire, or returns nil.
func (r *Registry) ByKind(gvk schema.GroupVersionKind) *Kind { return r.byKind[gvk] }

// ByStore finds a kind by its key in the store ("deployments.apps"), or returns nil.
func (r *Registry) ByStore(resource string) *Kind { return r.byStore[resource] }

// Of finds the kind of an object by its Go type, or returns nil.
func (r *Registry) Of(obj fsm.Value) *Kind { return r.byType[reflect.TypeOf(obj)] }

// Schema describes the kinds to the store.
func (r *Registry) Schema() *fsm.Schema {
	resources := make([]fsm.Resource, len(r.kinds))
	for i, k := range r.kinds {
		resources[i] = fsm.Resource{Name: k.StoredAs(), Decode: k.Decode, Indexes: k.Indexes}
	}
	return fsm.NewSchema(map[string]fsm.IndexFunc{ByOwner: owners}, resources...)
}

func owners(v fsm.Value) []string {
	refs := v.GetOwnerReferences()
	uids := make([]string, len(refs))
	for i, ref := range refs {
		uids[i] = string(ref.UID)
	}
	return uids
}
