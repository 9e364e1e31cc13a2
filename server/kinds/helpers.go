package kinds

import (
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

// specified is a kind with a specification and a status: what Prepare needs to know of it.
type specified[T fsm.Value] struct {
	// spec returns what the generation counts the changes of; nil for a kind whose objects have no generation.
	spec func(T) any
	// start sets the status of a new object; keep copies it from the stored one.
	start func(T)
	keep  func(obj, old T)
}

// prepare makes a Kind's Prepare.
func (s specified[T]) prepare(value, before fsm.Value) {
	obj := value.(T)
	if before == nil {
		if s.spec != nil {
			obj.SetGeneration(1)
		}
		s.start(obj)
		return
	}
	old := before.(T)
	s.keep(obj, old)
	obj.SetGeneration(old.GetGeneration())
	if s.spec == nil {
		return
	}
	if !equality.Semantic.DeepEqual(s.spec(obj), s.spec(old)) {
		obj.SetGeneration(old.GetGeneration() + 1)
	}
}

// statusOf makes the "status" subresource: the body is a whole object, and of it only the status is taken.
func statusOf[T fsm.Value](gvk schema.GroupVersionKind, newBody func() fsm.Value, take func(obj, body T) field.ErrorList) Subresource {
	return Subresource{
		GVK: gvk,
		New: func() runtime.Object { return newBody() },
		Get: func(obj fsm.Value) (runtime.Object, error) { return obj, nil },
		Update: func(obj fsm.Value, body runtime.Object) field.ErrorList {
			return take(obj.(T), body.(T))
		},
	}
}

func oneOf[T ~string](path *field.Path, value T, allowed ...T) field.ErrorList {
	if sets.New(allowed...).Has(value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, allowed)}
}

func invalid(path *field.Path, value any, messages []string) field.ErrorList {
	var errs field.ErrorList
	for _, message := range messages {
		errs = append(errs, field.Invalid(path, value, message))
	}
	return errs
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func setPointer[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

// count is a number in a specification or status that cannot be negative.
type count struct {
	path  *field.Path
	value int32
}

func nonNegative(counts ...count) field.ErrorList {
	var errs field.ErrorList
	for _, c := range counts {
		errs = append(errs, apivalidation.ValidateNonnegativeField(int64(c.value), c.path)...)
	}
	return errs
}

func atMost(limit int32, message string, counts ...count) field.ErrorList {
	var errs field.ErrorList
	for _, c := range counts {
		if c.value > limit {
			errs = append(errs, field.Invalid(c.path, c.value, message))
		}
	}
	return errs
}

// unknown stands in a table for what an object does not say; none for what it does not have.
const (
	unknown = "<unknown>"
	none    = "<none>"
)

// column is one that kubectl always shows; wide one that it shows with -o wide.
func column(name, kind, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: kind, Description: description}
}

func wide(name, kind, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: kind, Description: description, Priority: 1}
}

func ageColumn() metav1.TableColumnDefinition {
	return column("Age", "string", metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"])
}

// age is how long ago an object was created, as people read it: "5m".
func age(obj fsm.Value, now time.Time) string { return since(obj.GetCreationTimestamp().Time, now) }

func since(then, now time.Time) string {
	if then.IsZero() {
		return unknown
	}
	return duration.HumanDuration(now.Sub(then))
}

// createdAt and createdCell are the table of kinds that Kubernetes has no other for.
func createdAt() metav1.TableColumnDefinition {
	return column("Created At", "date", metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"])
}

func createdCell(obj fsm.Value) string { return obj.GetCreationTimestamp().UTC().Format(time.RFC3339) }

func orNone(text string) string {
	if text == "" {
		return none
	}
	return text
}
