package ownership

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

// Tracker keeps the managedFields of the objects of all kinds.
type Tracker struct {
	types func() (types, error)

	mu       sync.Mutex
	managers map[part]*managedfields.FieldManager // made when first needed
}

// part is a kind, or one of its subresources.
type part struct {
	gvk         schema.GroupVersionKind
	subresource string
}

// New makes a tracker. It costs nothing until it is used.
func New() *Tracker {
	return &Tracker{
		types:    sync.OnceValues(func() (types, error) { return unpack(packed) }),
		managers: map[part]*managedfields.FieldManager{},
	}
}

// Update makes manager the owner of what differs between live and obj: nil stands for an object that was not there.
// subresource is the part through which the change was made, or empty for the object itself. obj gets its new
// managedFields; what it has is what the client sent: nothing to keep those of live, an empty list or entry to reset
// them. If they cannot be told, obj keeps those of live.
func (t *Tracker) Update(k *kinds.Kind, subresource string, live, obj fsm.Value, manager string) {
	before := live
	if before == nil {
		before = k.New()
		before.GetObjectKind().SetGroupVersionKind(k.GVK)
	}
	m, err := t.manager(k, subresource)
	if err == nil {
		err = guarded(func() error {
			_, err := m.Update(before, obj, manager)
			return err
		})
	}
	if err != nil {
		obj.SetManagedFields(before.GetManagedFields())
	}
}

// Apply merges the applied configuration into live, which is nil for a new object, and returns the result with its
// managedFields. Without force it fails with a Status of 409 when another manager owns a field to be changed. An error
// without a Status says that the configuration does not fit the type.
func (t *Tracker) Apply(k *kinds.Kind, subresource string, live fsm.Value, applied *unstructured.Unstructured, manager string, force bool) (fsm.Value, error) {
	if live == nil {
		live = k.New()
		live.GetObjectKind().SetGroupVersionKind(k.GVK)
	}
	m, err := t.manager(k, subresource)
	if err != nil {
		return nil, err
	}
	merged, err := guardedApply(m, live, applied, manager, force)
	if err != nil {
		return nil, err
	}
	obj, ok := merged.(fsm.Value)
	if !ok {
		return nil, fmt.Errorf("the merged object is of type %T", merged)
	}
	return obj, nil
}

// guarded makes an error of a panic: the library has one for values whose JSON cannot be read, and such bytes can come
// in a protobuf body.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the fields cannot be told: %v", p)
		}
	}()
	return f()
}

func guardedApply(m *managedfields.FieldManager, live, applied runtime.Object, manager string, force bool) (merged runtime.Object, err error) {
	err = guarded(func() error {
		merged, err = m.Apply(live, applied, manager, force)
		return err
	})
	return merged, err
}

// manager returns the field manager of a kind or of one of its subresources of the same type.
func (t *Tracker) manager(k *kinds.Kind, subresource string) (*managedfields.FieldManager, error) {
	newBody := func() runtime.Object { return k.New() }
	return t.managerOf(part{k.GVK, subresource}, newBody, unsettable(k, subresource))
}

func (t *Tracker) managerOf(p part, newBody func() runtime.Object, ignored fieldpath.Filter) (*managedfields.FieldManager, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.managers[p]; m != nil {
		return m, nil
	}
	all, err := t.types()
	if err != nil {
		return nil, err
	}
	version := oneVersion{p.gvk, newBody}
	var ignore map[fieldpath.APIVersion]fieldpath.Filter
	if ignored != nil {
		ignore = map[fieldpath.APIVersion]fieldpath.Filter{fieldpath.APIVersion(p.gvk.GroupVersion().String()): ignored}
	}
	m, err := managedfields.NewDefaultFieldManager(all, version, version, version, p.gvk, p.gvk.GroupVersion(), p.subresource, ignore)
	if err != nil {
		return nil, fmt.Errorf("track the fields of %s: %w", p.gvk.Kind, err)
	}
	t.managers[p] = m
	return m, nil
}

// unsettable filters out the fields that have no effect when they are sent: the status, except through the
// subresource of that name, where only it has one.
func unsettable(k *kinds.Kind, subresource string) fieldpath.Filter {
	_, has := k.Subresources["status"]
	switch {
	case subresource == "status":
		return fieldpath.NewIncludeMatcherFilter(fieldpath.MakePrefixMatcherOrDie("status"))
	case subresource == "" && has:
		return fieldpath.NewExcludeSetFilter(fieldpath.NewSet(fieldpath.MakePathOrDie("status")))
	}
	return nil
}
