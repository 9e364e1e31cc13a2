package fsm

import (
	"iter"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// View is the whole state at one revision. It is a value, costs nothing to keep for a while, and may be read by
// any number of goroutines.
type View struct{ s *state }

// Revision is the number of the last change in the view.
func (v View) Revision() uint64 { return v.s.revision }

// Index is the position in the Raft log up to which the view has applied.
func (v View) Index() uint64 { return v.s.index }

// Digest names the state: two servers at the same index have the same digest, or have diverged.
func (v View) Digest() string { return v.s.digest() }

// Len counts all objects.
func (v View) Len() int { return v.s.objects.Len() }

// Get returns one object.
func (v View) Get(k Key) (*Object, bool) { return v.s.objects.Get(objectKey(k)) }

// List yields the resource's objects ordered by namespace and name: all of them if namespace is empty.
func (v View) List(resource, namespace string) iter.Seq[*Object] {
	prefix := resource + "\x00"
	if namespace != "" {
		prefix += namespace + "\x00"
	}
	return walk(v.s.objects, []byte(prefix))
}

// ListFrom is List beginning at the first object whose namespace and name are not below from's. The zero Key is
// below everything. Pages of one list start where the last one ended.
func (v View) ListFrom(resource, namespace string, from Key) iter.Seq[*Object] {
	return listFrom(v.s.objects, resource, namespace, from)
}

// ByIndex yields the resource's objects that have value in the named index. An empty resource asks a shared
// index, which spans all resources.
func (v View) ByIndex(resource, index, value string) iter.Seq[*Object] {
	return walk(v.s.indexes, indexPrefix(resource, index, value))
}

// All yields every object.
func (v View) All() iter.Seq[*Object] { return walk(v.s.objects, nil) }

func listFrom(t *iradix.Tree[*Object], resource, namespace string, from Key) iter.Seq[*Object] {
	if from.Namespace < namespace {
		from = Key{Namespace: namespace}
	}
	return func(yield func(*Object) bool) {
		it := t.Root().Iterator()
		it.SeekLowerBound(objectKey(Key{resource, from.Namespace, from.Name}))
		for _, o, ok := it.Next(); ok; _, o, ok = it.Next() {
			if o.Resource != resource || (namespace != "" && o.Namespace != namespace) || !yield(o) {
				return
			}
		}
	}
}

func walk(t *iradix.Tree[*Object], prefix []byte) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		it := t.Root().Iterator()
		it.SeekPrefix(prefix)
		for _, o, ok := it.Next(); ok; _, o, ok = it.Next() {
			if !yield(o) {
				return
			}
		}
	}
}
