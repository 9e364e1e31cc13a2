package controllers

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

// Claim returns the objects of a resource that belong to owner: those that it controls and that match its selector.
// It plans the adoption of matching orphans and the release of what no longer matches, as Kubernetes does; both
// count from the next plan on.
func Claim(v fsm.View, p *Plan, resource string, owner fsm.Value, ref metav1.OwnerReference, sel labels.Selector) []*fsm.Object {
	var mine []*fsm.Object
	for o := range v.ByIndex("", kinds.ByOwner, string(owner.GetUID())) {
		if o.Resource != resource || !controls(owner, o.Value) {
			continue
		}
		if sel.Matches(labels.Set(o.Value.GetLabels())) {
			mine = append(mine, o)
		} else if o.Value.GetDeletionTimestamp() == nil {
			p.Update(resource, release(o.Value, owner))
		}
	}
	if owner.GetDeletionTimestamp() != nil || sel.Empty() {
		return mine
	}
	for o := range v.List(resource, owner.GetNamespace()) {
		if metav1.GetControllerOfNoCopy(o.Value) == nil && o.Value.GetDeletionTimestamp() == nil &&
			sel.Matches(labels.Set(o.Value.GetLabels())) {
			adopted := o.Value.DeepCopyObject().(fsm.Value)
			adopted.SetOwnerReferences(append(adopted.GetOwnerReferences(), ref))
			p.Update(resource, adopted)
		}
	}
	return mine
}

func controls(owner, obj fsm.Value) bool {
	ref := metav1.GetControllerOfNoCopy(obj)
	return ref != nil && ref.UID == owner.GetUID()
}

func release(obj, owner fsm.Value) fsm.Value {
	obj = obj.DeepCopyObject().(fsm.Value)
	var kept []metav1.OwnerReference
	for _, ref := range obj.GetOwnerReferences() {
		if ref.UID != owner.GetUID() {
			kept = append(kept, ref)
		}
	}
	obj.SetOwnerReferences(kept)
	return obj
}

// Selecting makes dirty every object of resource in the changed object's namespace that has no controller yet and
// that match accepts: a new orphan may be somebody's to adopt.
func Selecting(resource string, match func(owner fsm.Value, set labels.Set) bool) func(fsm.View, *fsm.Object) []fsm.Key {
	return func(v fsm.View, o *fsm.Object) []fsm.Key {
		if metav1.GetControllerOfNoCopy(o.Value) != nil {
			return nil
		}
		var keys []fsm.Key
		for owner := range v.List(resource, o.Namespace) {
			if match(owner.Value, o.Value.GetLabels()) {
				keys = append(keys, owner.Key)
			}
		}
		return keys
	}
}

// Either makes dirty what any of the functions does.
func Either(fs ...func(fsm.View, *fsm.Object) []fsm.Key) func(fsm.View, *fsm.Object) []fsm.Key {
	return func(v fsm.View, o *fsm.Object) []fsm.Key {
		var keys []fsm.Key
		for _, f := range fs {
			keys = append(keys, f(v, o)...)
		}
		return keys
	}
}

// SelectorMatches reports whether a label selector selects the set; an invalid or empty one selects nothing.
func SelectorMatches(s *metav1.LabelSelector, set labels.Set) bool {
	sel, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && !sel.Empty() && sel.Matches(set)
}
