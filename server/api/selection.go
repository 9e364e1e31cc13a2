package api

import (
	"iter"
	"sort"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

const (
	fieldName      = "metadata.name"
	fieldNamespace = "metadata.namespace"
)

// fieldIndexes names the indexes that answer an exact match of a field. An index does not hold empty values.
var fieldIndexes = map[string]string{"spec.nodeName": kinds.ByNode}

// selection is what a list, watch or deletecollection asks for.
type selection struct {
	kind      *kinds.Kind
	namespace string
	labels    labels.Selector
	fields    fields.Selector
}

// selection reads the selectors of a request. A field that the kind does not offer is an error, because to ignore it
// would select too much.
func (r *request) selection(labelSelector, fieldSelector string) (selection, error) {
	sel := selection{kind: r.kind, namespace: r.info.Namespace}
	var err error
	if sel.labels, err = labels.Parse(labelSelector); err != nil {
		return sel, badRequest("unable to parse the label selector: %v", err)
	}
	if sel.fields, err = fields.ParseSelector(fieldSelector); err != nil {
		return sel, badRequest("unable to parse the field selector: %v", err)
	}
	for _, req := range sel.fields.Requirements() {
		if !sel.offers(req.Field) {
			return sel, badRequest("field label not supported: %s", req.Field)
		}
	}
	return sel, nil
}

func (s selection) offers(name string) bool {
	if name == fieldName || (name == fieldNamespace && s.kind.Namespaced) {
		return true
	}
	if s.kind.Fields == nil {
		return false
	}
	_, ok := s.kind.Fields(s.kind.New())[name]
	return ok
}

// all reports whether the selectors let everything through.
func (s selection) all() bool { return s.labels.Empty() && s.fields.Empty() }

func (s selection) matches(v fsm.Value) bool {
	if !s.labels.Empty() && !s.labels.Matches(labels.Set(v.GetLabels())) {
		return false
	}
	if s.fields.Empty() {
		return true
	}
	set := fields.Set{fieldName: v.GetName(), fieldNamespace: v.GetNamespace()}
	if s.kind.Fields != nil {
		for k, val := range s.kind.Fields(v) {
			set[k] = val
		}
	}
	return s.fields.Matches(set)
}

// in yields the objects of view from key on, in order; those that do not match are left out.
func (s selection) in(v fsm.View, from *fsm.Key) iter.Seq[*fsm.Object] {
	return func(yield func(*fsm.Object) bool) {
		for o := range s.candidates(v, from) {
			if s.matches(o.Value) && !yield(o) {
				return
			}
		}
	}
}

func (s selection) candidates(v fsm.View, from *fsm.Key) iter.Seq[*fsm.Object] {
	resource := s.kind.GroupResource().String()
	if from != nil {
		return v.ListFrom(resource, s.namespace, *from)
	}
	if name, ok := s.fields.RequiresExactMatch(fieldName); ok && (s.namespace != "" || !s.kind.Namespaced) {
		return func(yield func(*fsm.Object) bool) {
			if o, ok := v.Get(s.kind.Key(s.namespace, name)); ok {
				yield(o)
			}
		}
	}
	for name, index := range fieldIndexes {
		if value, ok := s.fields.RequiresExactMatch(name); ok && value != "" && s.kind.Indexes[index] != nil {
			return s.indexed(v, resource, index, value)
		}
	}
	return v.List(resource, s.namespace)
}

// indexed yields what the index holds, ordered as List is.
func (s selection) indexed(v fsm.View, resource, index, value string) iter.Seq[*fsm.Object] {
	return func(yield func(*fsm.Object) bool) {
		var found []*fsm.Object
		for o := range v.ByIndex(resource, index, value) {
			if s.namespace == "" || o.Namespace == s.namespace {
				found = append(found, o)
			}
		}
		sort.Slice(found, func(i, j int) bool { return less(found[i].Key, found[j].Key) })
		for _, o := range found {
			if !yield(o) {
				return
			}
		}
	}
}

func less(a, b fsm.Key) bool {
	if a.Namespace != b.Namespace {
		return a.Namespace < b.Namespace
	}
	return a.Name < b.Name
}
