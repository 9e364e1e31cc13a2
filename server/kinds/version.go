package kinds

import (
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

// Version says that a kind is another version of one that is stored: its objects are converted whenever they are read
// or written, and everything between works on objects of its own.
type Version struct {
	// Of is the kind in whose form the objects are stored.
	Of *Kind
	// From makes an object of this version of a stored one, To the opposite. They share with their argument what they do
	// not change, and leave it as it is. What this version cannot say is kept in the object's annotations or lost.
	From, To func(fsm.Value) fsm.Value
}

// versionOf completes k, another version of a stored kind, with what does not depend on the version.
func versionOf(stored *Kind, from, to func(fsm.Value) fsm.Value, k Kind) *Kind {
	k.Version = &Version{Of: stored, From: from, To: to}
	k.Resource, k.Singular, k.ShortNames, k.Categories = stored.Resource, stored.Singular, stored.ShortNames, stored.Categories
	k.Namespaced, k.ValidateName = stored.Namespaced, stored.ValidateName
	k.Columns = stored.Columns
	k.Cells = func(obj fsm.Value, now time.Time) []any { return stored.Cells(to(obj), now) }
	if k.Validate == nil && stored.Validate != nil {
		k.Validate = func(obj fsm.Value) field.ErrorList { return stored.Validate(to(obj)) }
	}
	if k.ValidateCreate == nil && stored.ValidateCreate != nil {
		k.ValidateCreate = func(obj fsm.Value) field.ErrorList { return stored.ValidateCreate(to(obj)) }
	}
	if k.ValidateUpdate == nil && stored.ValidateUpdate != nil {
		k.ValidateUpdate = func(obj, old fsm.Value) field.ErrorList { return stored.ValidateUpdate(to(obj), to(old)) }
	}
	if k.Fields == nil && stored.Fields != nil {
		k.Fields = func(obj fsm.Value) fields.Set { return stored.Fields(to(obj)) }
	}
	return &k
}

// Stored is the kind whose form the store keeps: k itself, unless it is another version.
func (k *Kind) Stored() *Kind {
	if k.Version == nil {
		return k
	}
	return k.Version.Of
}

// StoredAs is the name under which the store keeps the kind's objects, for example "deployments.apps".
func (k *Kind) StoredAs() string { return k.Stored().GroupResource().String() }

// Shown returns a stored object as this kind shows it: itself, unless the kind is another version. An object that was
// converted already stays as it is.
func (k *Kind) Shown(o *fsm.Object) *fsm.Object {
	if o == nil || k.Version == nil || o.Value.GetObjectKind().GroupVersionKind() == k.GVK {
		return o
	}
	return &fsm.Object{Key: o.Key, Revision: o.Revision, Value: k.ShownValue(o.Value)}
}

// ShownValue is Shown for an object alone.
func (k *Kind) ShownValue(v fsm.Value) fsm.Value {
	if k.Version == nil || v.GetObjectKind().GroupVersionKind() == k.GVK {
		return v
	}
	shown := k.Version.From(v)
	shown.GetObjectKind().SetGroupVersionKind(k.GVK)
	return shown
}
