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

// family makes the changed object, its dependents and the owners that wait for it dirty.
func (c collector) family(v fsm.View, o *fsm.Object) []fsm.Key {
	var keys []fsm.Key
	if len(o.Value.GetOwnerReferences()) > 0 || o.Value.GetDeletionTimestamp() != nil {
		keys = append(keys, o.Key)
	}
	if _, exists := v.Get(o.Key); !exists {
		for d := range v.ByIndex("", kinds.ByOwner, string(o.Value.GetUID())) {
			keys = append(keys, d.Key)
		}
		for _, ref := range o.Value.GetOwnerReferences() {
			if owner, _ := c.owner(v, o, ref); owner != nil && owner.Value.GetDeletionTimestamp() != nil {
				keys = append(keys, owner.Key)
			}
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
		c.finish(v, &p, o)
		return p
	}
	c.collect(v, &p, o)
	return p
}

// collect deletes an object whose owners are all gone, or makes it forget those that are.
func (c collector) collect(v fsm.View, p *controllers.Plan, o *fsm.Object) {
	refs := o.Value.GetOwnerReferences()
	if len(refs) == 0 {
		return
	}
	var alive []metav1.OwnerReference
	waiting := false
	for _, ref := range refs {
		owner, known := c.owner(v, o, ref)
		if !known || owner != nil {
			alive = append(alive, ref)
		}
		if owner != nil && foreground(owner.Value) {
			waiting = true
		}
	}
	switch {
	case len(alive) == 0, waiting && len(alive) == 1:
		p.Delete(o.Resource, o.Value)
	case len(alive) < len(refs):
		next := o.Value.DeepCopyObject().(fsm.Value)
		next.SetOwnerReferences(alive)
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
	if k == nil {
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

// finish carries out what the finalizers of a deleted owner ask for.
func (collector) finish(v fsm.View, p *controllers.Plan, o *fsm.Object) {
	switch finalizers := o.Value.GetFinalizers(); {
	case slices.Contains(finalizers, metav1.FinalizerOrphanDependents):
		if !orphan(v, p, o) {
			removeFinalizer(p, o, metav1.FinalizerOrphanDependents)
		}
	case slices.Contains(finalizers, metav1.FinalizerDeleteDependents):
		if !deleteDependents(v, p, o) {
			removeFinalizer(p, o, metav1.FinalizerDeleteDependents)
		}
	}
}

// orphan makes the dependents forget the owner and reports whether there was any.
func orphan(v fsm.View, p *controllers.Plan, owner *fsm.Object) bool {
	found := false
	for d := range v.ByIndex("", kinds.ByOwner, string(owner.Value.GetUID())) {
		found = true
		next := d.Value.DeepCopyObject().(fsm.Value)
		next.SetOwnerReferences(slices.DeleteFunc(slices.Clone(next.GetOwnerReferences()), func(r metav1.OwnerReference) bool {
			return r.UID == owner.Value.GetUID()
		}))
		p.Update(d.Resource, next)
	}
	return found
}

// deleteDependents deletes the dependents and reports whether one that blocks the owner is left.
func deleteDependents(v fsm.View, p *controllers.Plan, owner *fsm.Object) bool {
	blocked := false
	for d := range v.ByIndex("", kinds.ByOwner, string(owner.Value.GetUID())) {
		if blocks(d.Value, owner.Value) {
			blocked = true
		}
		if d.Value.GetDeletionTimestamp() == nil {
			deleteInForeground(v, p, d)
		}
	}
	return blocked
}

// deleteInForeground deletes a dependent; one that has dependents itself waits for them in its turn.
func deleteInForeground(v fsm.View, p *controllers.Plan, d *fsm.Object) {
	for range v.ByIndex("", kinds.ByOwner, string(d.Value.GetUID())) {
		if slices.Contains(d.Value.GetFinalizers(), metav1.FinalizerDeleteDependents) {
			break
		}
		next := d.Value.DeepCopyObject().(fsm.Value)
		next.SetFinalizers(append(next.GetFinalizers(), metav1.FinalizerDeleteDependents))
		p.Update(d.Resource, next) // the next plan deletes it
		return
	}
	p.Delete(d.Resource, d.Value)
}

func blocks(dependent, owner fsm.Value) bool {
	for _, ref := range dependent.GetOwnerReferences() {
		if ref.UID == owner.GetUID() {
			return ref.BlockOwnerDeletion != nil && *ref.BlockOwnerDeletion
		}
	}
	return false
}

func removeFinalizer(p *controllers.Plan, o *fsm.Object, name string) {
	next := o.Value.DeepCopyObject().(fsm.Value)
	next.SetFinalizers(slices.DeleteFunc(slices.Clone(next.GetFinalizers()), func(f string) bool { return f == name }))
	p.Update(o.Resource, next)
}
