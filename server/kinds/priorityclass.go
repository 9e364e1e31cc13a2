package kinds

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

const (
	// highestPriority is the highest that users may give; above are the system's own classes, by name.
	highestPriority      = 1_000_000_000
	systemPriorityPrefix = "system-"
)

// systemPriorities are the classes whose names begin with the system's prefix.
var systemPriorities = map[string]int32{
	"system-cluster-critical": 2 * highestPriority,
	"system-node-critical":    2*highestPriority + 1000,
}

func priorityClass() *Kind {
	doc := schedulingv1.PriorityClass{}.SwaggerDoc()
	return &Kind{
		GVK:      schedulingv1.SchemeGroupVersion.WithKind("PriorityClass"),
		Resource: "priorityclasses", Singular: "priorityclass", ShortNames: []string{"pc"},
		New:     func() fsm.Value { return &schedulingv1.PriorityClass{} },
		NewList: func() runtime.Object { return &schedulingv1.PriorityClassList{} },
		Default: func(obj fsm.Value) {
			setPointer(&obj.(*schedulingv1.PriorityClass).PreemptionPolicy, corev1.PreemptLowerPriority)
		},
		Prepare: specified[*schedulingv1.PriorityClass]{
			// Nothing of a class may change but its description, which no controller acts on.
			spec:  func(*schedulingv1.PriorityClass) any { return nil },
			start: func(*schedulingv1.PriorityClass) {},
			keep:  func(_, _ *schedulingv1.PriorityClass) {},
		}.prepare,
		Validate: validatePriorityClass,
		ValidateUpdate: func(obj, before fsm.Value) field.ErrorList {
			pc, old := obj.(*schedulingv1.PriorityClass), before.(*schedulingv1.PriorityClass)
			var errs field.ErrorList
			if pc.Value != old.Value {
				errs = append(errs, field.Forbidden(field.NewPath("value"), "may not be changed in an update."))
			}
			return append(errs, apivalidation.ValidateImmutableField(pc.PreemptionPolicy, old.PreemptionPolicy, field.NewPath("preemptionPolicy"))...)
		},
		Columns: []metav1.TableColumnDefinition{
			column("Value", "integer", doc["value"]), column("Global-Default", "boolean", doc["globalDefault"]),
			ageColumn(), column("PreemptionPolicy", "string", doc["preemptionPolicy"]),
		},
		Cells: func(obj fsm.Value, now time.Time) []any {
			pc := obj.(*schedulingv1.PriorityClass)
			policy := ""
			if pc.PreemptionPolicy != nil {
				policy = string(*pc.PreemptionPolicy)
			}
			return []any{int64(pc.Value), pc.GlobalDefault, age(obj, now), policy}
		},
	}
}

func validatePriorityClass(obj fsm.Value) field.ErrorList {
	pc := obj.(*schedulingv1.PriorityClass)
	var errs field.ErrorList
	if strings.HasPrefix(pc.Name, systemPriorityPrefix) {
		if value, known := systemPriorities[pc.Name]; !known || value != pc.Value || pc.GlobalDefault {
			errs = append(errs, field.Forbidden(field.NewPath("metadata", "name"),
				"priority class names with 'system-' prefix are reserved for system use only"))
		}
	} else if pc.Value > highestPriority {
		errs = append(errs, field.Forbidden(field.NewPath("value"),
			fmt.Sprintf("maximum allowed value of a user defined priority is %d", highestPriority)))
	}
	if pc.PreemptionPolicy != nil {
		errs = append(errs, oneOf(field.NewPath("preemptionPolicy"), *pc.PreemptionPolicy,
			corev1.PreemptLowerPriority, corev1.PreemptNever)...)
	}
	return errs
}
