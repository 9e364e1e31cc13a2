package kinds

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

// Kind is the registration of one type of API object.
type Kind struct {
	// GVK is the type on the wire, for example apps/v1 Deployment.
	GVK schema.GroupVersionKind
	// Resource is the plural name in URLs, for example "deployments"; Singular is for kubectl.
	Resource, Singular string
	ShortNames         []string
	Categories         []string
	Namespaced         bool

	// Version, unless nil, says that the objects are those of another kind, in another version.
	Version *Version

	// New and NewList make empty objects of the Go types.
	New     func() fsm.Value
	NewList func() runtime.Object

	// Default fills in what the user left out. It runs on every object that a client sent; nil does nothing.
	Default func(obj fsm.Value)
	// Restore puts back what the stored form of an object leaves out, whenever one is decoded. nil does nothing.
	Restore func(obj fsm.Value)
	// Prepare sets what clients may not: on create (old is nil) it empties the status and starts the generation;
	// on update it keeps the old status and counts the generation up when the specification changed. It runs after
	// Default and before Validate, and not for subresources: their functions do what is needed. nil does nothing.
	Prepare func(obj, old fsm.Value)
	// Validate returns all errors of an object at once; the object's metadata is checked by the API.
	Validate func(obj fsm.Value) field.ErrorList
	// ValidateCreate returns the errors of a new object, on top of Validate: what old objects were not held to.
	ValidateCreate func(obj fsm.Value) field.ErrorList
	// ValidateUpdate returns the errors of the change from old, on top of Validate: immutable fields.
	ValidateUpdate func(obj, old fsm.Value) field.ErrorList
	// ValidateName returns what is wrong with an object's name; nil stands for a DNS subdomain name.
	ValidateName func(name string, prefix bool) []string
	// GracePeriod, unless nil, makes deletion graceful: it returns the default seconds that this object gets
	// between the request and its end; zero deletes at once.
	GracePeriod func(obj fsm.Value) int64

	// Subresources by name: "status", "scale", "binding", "log", ...
	Subresources map[string]Subresource

	// Fields returns the selectable fields beyond metadata.name and metadata.namespace.
	Fields func(obj fsm.Value) fields.Set
	// Indexes that the store keeps for this kind.
	Indexes map[string]fsm.IndexFunc

	// Columns and Cells make the table that kubectl prints: all of it, the age too, but for the name, which the API
	// puts first unless there is a column "Name" already. Without them it shows name and age.
	Columns []metav1.TableColumnDefinition
	Cells   func(obj fsm.Value, now time.Time) []any
}

// Subresource is a part of an object with a URL of its own. Either Get/Update work on the stored object, or Connect
// says that the API streams to the object's node.
type Subresource struct {
	// GVK is the type of the body on the wire: the kind's own for "status", autoscaling/v1 Scale for "scale".
	GVK schema.GroupVersionKind
	// New makes an empty body.
	New func() runtime.Object
	// Get derives the body from the stored object. nil forbids get.
	Get func(obj fsm.Value) (runtime.Object, error)
	// Update changes obj, a copy of the stored object, as body asks. nil forbids update and patch.
	Update func(obj fsm.Value, body runtime.Object) field.ErrorList
	// Create changes obj, a copy of the stored object, as the posted body asks ("binding"). nil forbids create. The
	// API sets the body's creation timestamp before: it is the time of the change. Errors are the API's own
	// (apimachinery's StatusError).
	Create func(obj fsm.Value, body runtime.Object) error
	// Connect marks a stream ("log"): the API proxies it to the agent of the pod's node.
	Connect bool
	// Options makes an empty object of the query parameters that a stream takes; nil for none.
	Options func() runtime.Object
}

// GroupResource is the kind's name for authorization and in errors, for example "deployments.apps".
func (k *Kind) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: k.GVK.Group, Resource: k.Resource}
}

// GVR is the kind's place in URLs.
func (k *Kind) GVR() schema.GroupVersionResource {
	return k.GVK.GroupVersion().WithResource(k.Resource)
}

// Key is the store's key of one object of the kind.
func (k *Kind) Key(namespace, name string) fsm.Key {
	if !k.Namespaced {
		namespace = ""
	}
	return fsm.Key{Resource: k.StoredAs(), Namespace: namespace, Name: name}
}
