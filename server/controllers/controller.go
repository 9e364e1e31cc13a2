package controllers

import (
	"time"

	"github.com/holt-project/holt/fsm"
)

// Controller is one control loop.
type Controller struct {
	// Name is the loop's, for logs and as the source of its events.
	Name string
	// Watches tells for each resource which keys a changed object makes dirty. An object that changed is given in
	// its old and its new form; the view is at least as new as the change.
	Watches map[string]func(fsm.View, *fsm.Object) []fsm.Key
	// Plan decides what to change for one key. It must be pure: no clock but now, no randomness.
	Plan func(v fsm.View, key fsm.Key, now time.Time) Plan
	// Wake, unless nil, returns a channel that is closed when all keys must be planned again for a reason that the
	// store does not know, such as gossip.
	Wake func() <-chan struct{}
}

// Self makes the changed object's own key dirty.
func Self(_ fsm.View, o *fsm.Object) []fsm.Key { return []fsm.Key{o.Key} }

// ControllerOf makes the object's controlling owner dirty if it is of the given kind.
func ControllerOf(kind, resource string) func(fsm.View, *fsm.Object) []fsm.Key {
	return func(_ fsm.View, o *fsm.Object) []fsm.Key {
		for _, ref := range o.Value.GetOwnerReferences() {
			if ref.Controller != nil && *ref.Controller && ref.Kind == kind {
				return []fsm.Key{{Resource: resource, Namespace: o.Namespace, Name: ref.Name}}
			}
		}
		return nil
	}
}

// Plan is what a controller wants changed. The zero Plan changes nothing.
type Plan struct {
	Changes []Change
	// Again, unless zero, is when the key must be planned again although nothing changed.
	Again time.Time
}

// Change is one write.
type Change struct {
	Verb Verb
	// Object is the new object, or for Delete the present one. The controller owns it.
	Object fsm.Value
	// Resource is the object's key in the store, for example "pods".
	Resource string
	// Force deletes without a grace period. Finalizers hold the object all the same.
	Force bool
	// IfDone, for Record, notes the Event only if the change before this one was carried out.
	IfDone bool
	// Event, for Record, describes what happened to Object.
	Event Event
}

// Verb is what a Change does.
type Verb int

// The verbs of changes.
const (
	// Create makes a new object; its UID and creation time are set.
	Create Verb = iota
	// Update replaces metadata and specification if the object is still at its resource version.
	Update
	// UpdateStatus replaces the status if the object is still at its resource version.
	UpdateStatus
	// Bind sets a pod's node, from Object's spec.nodeName.
	Bind
	// Delete begins the object's deletion, or ends it if nothing holds it.
	Delete
	// Finalize replaces the finalizers in a namespace's specification.
	Finalize
	// Record notes an Event about Object. It never fails: a lost Event is no reason to plan again.
	Record
)

// Event is what a user reads about an object.
type Event struct {
	Type, Reason, Message string
}

// Create adds a creation.
func (p *Plan) Create(resource string, obj fsm.Value) { p.add(Create, resource, obj) }

// Update adds a change of metadata and specification.
func (p *Plan) Update(resource string, obj fsm.Value) { p.add(Update, resource, obj) }

// UpdateStatus adds a change of the status.
func (p *Plan) UpdateStatus(resource string, obj fsm.Value) { p.add(UpdateStatus, resource, obj) }

// Bind adds the placement of a pod.
func (p *Plan) Bind(pod fsm.Value) { p.add(Bind, "pods", pod) }

// Delete adds a deletion.
func (p *Plan) Delete(resource string, obj fsm.Value) { p.add(Delete, resource, obj) }

// ForceDelete adds a deletion that waits for nothing.
func (p *Plan) ForceDelete(resource string, obj fsm.Value) {
	p.Changes = append(p.Changes, Change{Verb: Delete, Resource: resource, Object: obj, Force: true})
}

// Finalize adds a change of the finalizers in a namespace's specification.
func (p *Plan) Finalize(namespace fsm.Value) { p.add(Finalize, "namespaces", namespace) }

// Report adds an event about obj that is noted only if the change that was added before it is carried out.
func (p *Plan) Report(resource string, obj fsm.Value, eventType, reason, message string) {
	p.Record(resource, obj, eventType, reason, message)
	p.Changes[len(p.Changes)-1].IfDone = true
}

// Record adds an event about obj.
func (p *Plan) Record(resource string, obj fsm.Value, eventType, reason, message string) {
	p.Changes = append(p.Changes, Change{Verb: Record, Resource: resource, Object: obj,
		Event: Event{eventType, reason, message}})
}

// At asks for another plan at t, if that is earlier than what was asked for before.
func (p *Plan) At(t time.Time) {
	if p.Again.IsZero() || t.Before(p.Again) {
		p.Again = t
	}
}

// again is when the key must be planned again at the earliest: a time that has passed already is no reason to plan
// without a pause.
func (p *Plan) again(now time.Time) time.Time {
	if soon := now.Add(minBackoff); !p.Again.IsZero() && p.Again.Before(soon) && !p.Again.After(now) {
		return soon
	}
	return p.Again
}

func (p *Plan) add(v Verb, resource string, obj fsm.Value) {
	p.Changes = append(p.Changes, Change{Verb: v, Resource: resource, Object: obj})
}
