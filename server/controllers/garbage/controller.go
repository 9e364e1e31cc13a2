package garbage

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
	"github.com/holt-project/holt/server/kinds"
)

// collector knows where owners live.
type collector struct{ kinds *kinds.Registry }

// New returns the controller over all kinds of the registry.
func New(reg *kinds.Registry) controllers.Controller {
	c := collector{reg}
	watches := map[string]func(fsm.View, *fsm.Object) []fsm.Key{}
	for _, k := range reg.All() {
		watches[k.GroupResource().String()] = c.family
	}
	return controllers.Controller{Name: "garbage-collector", Watches: watches, Plan: c.plan}
}

// family makes the changed object dirty, the owners that wait for it, and its dependents if it is gone or waits for
// them.
func (c collector) family(v fsm.View, o *fsm.Object) []fsm.Key {
	var keys []fsm.Key
	if len(o.Value.GetOwnerReferences()) > 0 || o.Value.GetDeletionTimestamp() != nil {
		keys = append(keys, o.Key)
	}
	for _, ref := range o.Value.GetOwnerReferences() {
		if owner, _ := c.owner(v, o, ref); owner != nil && owner.Value.GetDeletionTimestamp() != nil {
			keys = append(keys, owner.Key)
		}
	}
	if now, exists := v.Get(o.Key); !exists || now.Value.GetUID() != o.Value.GetUID() || foreground(now.Value) {
		for d := range v.ByIndex("", kinds.ByOwner, string(o.Value.GetUID())) {
			keys = append(keys, d.Key)
		}
	}
	return keys
}

func (c collector) plan(v fsm.View, key fsm.Key, _ time.Time) controllers.Plan {
	var p controllers.Plan
	o, ok := v.Get(key)
	if !ok {
		return p
	}
	if o.Value.GetDeletionTimestamp() != nil {
		finish(v, &p, o)
		return p
	}
	c.collect(v, &p, o)
	return p
}

// collect deletes an object that no owner wants any more, or makes it forget the owners that do not.
func (c collector) collect(v fsm.View, p *controllers.Plan, o *fsm.Object) {
	refs := o.Value.GetOwnerReferences()
	if len(refs) == 0 {
		return
	}
	var solid []metav1.OwnerReference
	awaited := false
	for _, ref := range refs {
		owner, known := c.owner(v, o, ref)
		switch {
		case owner != nil && foreground(owner.Value):
			awaited = true
		case owner != nil || !known:
			solid = append(solid, ref)
		}
	}
	switch {
	case len(solid) == len(refs):
	case len(solid) > 0:
		p.Update(o.Resource, withOwners(o.Value, solid))
	case awaited:
		deleteInForeground(v, p, o)
	default:
		p.Delete(o.Resource, o.Value)
	}
}

// deleteInForeground deletes an object for which an owner waits; one that has dependents itself waits for them in its
// turn. Each plan takes one step.
func deleteInForeground(v fsm.View, p *controllers.Plan, o *fsm.Object) {
	dependents, circle := 0, false
	for d := range v.ByIndex("", kinds.ByOwner, string(o.Value.GetUID())) {
		dependents++
		circle = circle || foreground(d.Value)
	}
	switch {
	case dependents == 0 || slices.Contains(o.Value.GetFinalizers(), metav1.FinalizerDeleteDependents):
		p.Delete(o.Resource, o.Value)
	case circle && blocksAny(o.Value):
		p.Update(o.Resource, unblocked(o.Value)) // it waits for one that would wait for it
	default:
		next := o.Value.DeepCopyObject().(fsm.Value)
		next.SetFinalizers(append(next.GetFinalizers(), metav1.FinalizerDeleteDependents))
		p.Update(o.Resource, next)
	}
}

// owner finds the object that ref means; nil if it does not exist. known is false for a kind that nobody registered,
// whose objects cannot be judged.
func (c collector) owner(v fsm.View, o *fsm.Object, ref metav1.OwnerReference) (owner *fsm.Object, known bool) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return nil, false
	}
	k := c.kinds.ByKind(gv.WithKind(ref.Kind))
	if k == nil || (k.Namespaced && o.Namespace == "") { // nothing outside can be owned from within a namespace
		return nil, false
	}
	found, ok := v.Get(k.Key(o.Namespace, ref.Name))
	if !ok || found.Value.GetUID() != ref.UID {
		return nil, true
	}
	return found, true
}

func foreground(v fsm.Value) bool {
	return v.GetDeletionTimestamp() != nil && slices.Contains(v.GetFinalizers(), metav1.FinalizerDeleteDependents)
}

// finish carries out what the finalizers of a deleted owner ask for. Its dependents are dirty too: each is deleted by
// its own plan, which knows of its other owners.
func finish(v fsm.View, p *controllers.Plan, o *fsm.Object) {
	switch finalizers := o.Value.GetFinalizers(); {
	case slices.Contains(finalizers, metav1.FinalizerOrphanDependents):
		if !orphan(v, p, o) {
			removeFinalizer(p, o, metav1.FinalizerOrphanDependents)
		}
	case slices.Contains(finalizers, metav1.FinalizerDeleteDependents):
		if !blocked(v, o) {
			removeFinalizer(p, o, metav1.FinalizerDeleteDependents)
		}
	}
}

// orphan makes the dependents forget the owner and reports whether there was any.
func orphan(v fsm.View, p *controllers.Plan, owner *fsm.Object) bool {
	found := false
	for d := range v.ByIndex("", kinds.ByOwner, string(owner.Value.GetUID())) {
		found = true
		p.Update(d.Resource, withOwners(d.Value, slices.DeleteFunc(slices.Clone(d.Value.GetOwnerReferences()),
			func(r metav1.OwnerReference) bool { return r.UID == owner.Value.GetUID() })))
	}
	return found
}

func blocked(v fsm.View, owner *fsm.Object) bool {
	for d := range v.ByIndex("", kinds.ByOwner, string(owner.Value.GetUID())) {
		if slices.ContainsFunc(d.Value.GetOwnerReferences(), func(r metav1.OwnerReference) bool {
			return r.UID == owner.Value.GetUID() && blocks(r)
		}) {
			return true
		}
	}
	return false
}

func blocks(r metav1.OwnerReference) bool {
	return r.BlockOwnerDeletion != nil && *r.BlockOwnerDeletion
}

func blocksAny(v fsm.Value) bool { return slices.ContainsFunc(v.GetOwnerReferences(), blocks) }

func unblocked(v fsm.Value) fsm.Value {
	refs := slices.Clone(v.GetOwnerReferences())
	for i := range refs {
		refs[i].BlockOwnerDeletion = nil
	}
	return withOwners(v, refs)
}

func withOwners(v fsm.Value, refs []metav1.OwnerReference) fsm.Value {
	next := v.DeepCopyObject().(fsm.Value)
	next.SetOwnerReferences(refs)
	return next
}

func removeFinalizer(p *controllers.Plan, o *fsm.Object, name string) {
	next := o.Value.DeepCopyObject().(fsm.Value)
	next.SetFinalizers(slices.DeleteFunc(slices.Clone(next.GetFinalizers()), func(f string) bool { return f == name }))
	p.Update(o.Resource, next)
}
