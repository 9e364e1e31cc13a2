package kinds

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

func controllerRevision() *Kind {
	return &Kind{
		GVK:      appsv1.SchemeGroupVersion.WithKind("ControllerRevision"),
		Resource: "controllerrevisions", Singular: "controllerrevision",
		Namespaced: true,
		New:        func() fsm.Value { return &appsv1.ControllerRevision{} },
		NewList:    func() runtime.Object { return &appsv1.ControllerRevisionList{} },
		Validate:   validateControllerRevision,
		ValidateUpdate: func(obj, old fsm.Value) field.ErrorList {
			return apivalidation.ValidateImmutableField(obj.(*appsv1.ControllerRevision).Data,
				old.(*appsv1.ControllerRevision).Data, field.NewPath("data"))
		},
		Columns: []metav1.TableColumnDefinition{
			column("Controller", "string", "Controller of the object"),
			column("Revision", "string", appsv1.ControllerRevision{}.SwaggerDoc()["revision"]),
			ageColumn(),
		},
		Cells: func(obj fsm.Value, now time.Time) []any {
			return []any{controllerOf(obj), obj.(*appsv1.ControllerRevision).Revision, age(obj, now)}
		},
	}
}

// validateControllerRevision wants an object as the data: it is a patch of what the controller owns.
func validateControllerRevision(obj fsm.Value) field.ErrorList {
	r, path := obj.(*appsv1.ControllerRevision), field.NewPath("data")
	errs := apivalidation.ValidateNonnegativeField(r.Revision, field.NewPath("revision"))
	if r.Data.Raw == nil {
		return append(errs, field.Required(path, "data is mandatory"))
	}
	var data any
	if err := json.Unmarshal(r.Data.Raw, &data); err != nil {
		return append(errs, field.Invalid(path, "<value omitted>", fmt.Sprintf("error parsing data: %v", err)))
	}
	if data == nil {
		return append(errs, field.Required(path, "data is mandatory"))
	}
	if _, ok := data.(map[string]any); !ok {
		errs = append(errs, field.Required(path, "data must be a valid JSON object"))
	}
	return errs
}

// controllerOf names the object's controller as kubectl does: "statefulset.apps/web".
func controllerOf(obj fsm.Value) string {
	owner := metav1.GetControllerOf(obj)
	if owner == nil {
		return none
	}
	kind := schema.FromAPIVersionAndKind(owner.APIVersion, owner.Kind).GroupKind()
	return strings.ToLower(kind.String()) + "/" + owner.Name
}
