package storage

import (
	"iter"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

// Scope is what a list or watch is about: the objects of one kind, in one namespace unless that is empty.
type Scope struct {
	Kind      *kinds.Kind
	Namespace string
}

const (
	fieldName      = "metadata.name"
	fieldNamespace = "metadata.namespace"
)

// fieldIndexes names the indexes that hold each object once, under the value of a field.
var fieldIndexes = map[string]string{"spec.nodeName": kinds.ByNode}

// selector is the objects of a scope that the selectors of a list or watch let through.
type selector struct {
	Scope
	resource string
	labels   labels.Selector // nil lets everything through
	// cheap are requirements on fields that are read without asking the kind for all of its fields; others are not.
	cheap  []requirement
	others fields.Requirements
}

// requirement is one on a field that get reads.
type requirement struct {
	fields.Requirement
	get func(fsm.Value) string
}

// selector joins the scope with the options' selectors. A field that the kind does not offer is an error, because to
// ignore it would select too much.
func (sc Scope) selector(o ListOptions) (*selector, error) {
	s := &selector{Scope: sc, resource: sc.Kind.StoredAs()}
	if o.LabelSelector != nil && !o.LabelSelector.Empty() {
		s.labels = o.LabelSelector
	}
	if o.FieldSelector == nil {
		return s, nil
	}
	for _, r := range o.FieldSelector.Requirements() {
		get := sc.getter(r.Field)
		switch {
		case get != nil:
			s.cheap = append(s.cheap, requirement{r, get})
		case sc.offers(r.Field):
			s.others = append(s.others, r)
		default:
			return nil, errBadOptions("field label not supported: %s", r.Field)
		}
	}
	return s, nil
}

// getter returns how to read a field by itself, or nil.
func (sc Scope) getter(field string) func(fsm.Value) string {
	index := sc.Kind.Indexes[fieldIndexes[field]]
	switch {
	case field == fieldName:
		return fsm.Value.GetName
	case field == fieldNamespace && sc.Kind.Namespaced:
		return fsm.Value.GetNamespace
	case index != nil:
		return func(v fsm.Value) string { return strings.Join(index(v), "") } // there is one: this copies nothing
	}
	return nil
}

func (sc Scope) offers(field string) bool {
	return sc.Kind.Fields != nil && sc.Kind.Fields(sc.Kind.New()).Has(field)
}

// all reports whether the selectors let everything through.
func (s *selector) all() bool { return s.labels == nil && len(s.cheap) == 0 && len(s.others) == 0 }

// matches reports whether the selectors let v through. The kind's fields are made into a set last: it is the one step
// that costs.
func (s *selector) matches(v fsm.Value) bool {
	for _, r := range s.cheap {
		if !meets(r.Requirement, r.get(v)) {
			return false
		}
	}
	if s.labels != nil && !s.labels.Matches(labels.Set(v.GetLabels())) {
		return false
	}
	if len(s.others) == 0 {
		return true
	}
	set := s.Kind.Fields(s.Kind.ShownValue(v))
	return !slices.ContainsFunc(s.others, func(r fields.Requirement) bool { return !meets(r, set.Get(r.Field)) })
}

func meets(r fields.Requirement, value string) bool {
	return (value == r.Value) == (r.Operator != selection.NotEquals)
}

// exactly returns the value that the selectors demand of a field.
func (s *selector) exactly(field string) (value string, ok bool) {
	for _, r := range s.cheap {
		if r.Field == field && r.Operator != selection.NotEquals {
			return r.Value, true
		}
	}
	return "", false
}

// snapshot is the state that a list is of: fsm.View or fsm.Past.
type snapshot interface {
	Revision() uint64
	Get(key fsm.Key) (*fsm.Object, bool)
	ListFrom(resource, namespace string, from fsm.Key) iter.Seq[*fsm.Object]
}

// indexed is a snapshot with indexes: fsm.View.
type indexed interface {
	ByIndex(resource, index, value string) iter.Seq[*fsm.Object]
}

// in yields the selected objects of a snapshot that are not below from, in order.
func (s *selector) in(at snapshot, from fsm.Key) iter.Seq[*fsm.Object] {
	return func(yield func(*fsm.Object) bool) {
		for o := range s.candidates(at, from) {
			if s.matches(o.Value) && !yield(o) {
				return
			}
		}
	}
}

// candidates yields a superset of what in does, found the shortest way.
func (s *selector) candidates(at snapshot, from fsm.Key) iter.Seq[*fsm.Object] {
	if name, ok := s.exactly(fieldName); ok && (s.Namespace != "" || !s.Kind.Namespaced) {
		return s.one(at, s.Kind.Key(s.Namespace, name), from)
	}
	if by, ok := at.(indexed); ok {
		for field, index := range fieldIndexes {
			if value, ok := s.exactly(field); ok && s.Kind.Indexes[index] != nil {
				return s.ordered(by.ByIndex(s.resource, index, value), from)
			}
		}
	}
	return at.ListFrom(s.resource, s.Namespace, from)
}

func (s *selector) one(at snapshot, key, from fsm.Key) iter.Seq[*fsm.Object] {
	return func(yield func(*fsm.Object) bool) {
		if o, ok := at.Get(key); ok && compare(key, from) >= 0 {
			yield(o)
		}
	}
}

// ordered yields what an index holds as ListFrom would. An index is in the order of its resource's objects.
func (s *selector) ordered(found iter.Seq[*fsm.Object], from fsm.Key) iter.Seq[*fsm.Object] {
	return func(yield func(*fsm.Object) bool) {
		for o := range found {
			if (s.Namespace == "" || o.Namespace == s.Namespace) && compare(o.Key, from) >= 0 && !yield(o) {
				return
			}
		}
	}
}
