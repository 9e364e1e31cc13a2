package kinds

import (
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

func replicaSet() *Kind {
	gvk := appsv1.SchemeGroupVersion.WithKind("ReplicaSet")
	newBody := func() fsm.Value { return &appsv1.ReplicaSet{} }
	return &Kind{
		GVK:      gvk,
		Resource: "replicasets", Singular: "replicaset", ShortNames: []string{"rs"}, Categories: []string{"all"},
		Namespaced: true,
		New:        newBody,
		NewList:    func() runtime.Object { return &appsv1.ReplicaSetList{} },
		Default: func(obj fsm.Value) {
			rs := obj.(*appsv1.ReplicaSet)
			setPointer(&rs.Spec.Replicas, 1)
			podspec.Default(&rs.Spec.Template.Spec)
		},
		Prepare: specified[*appsv1.ReplicaSet]{
			spec:  func(rs *appsv1.ReplicaSet) any { return &rs.Spec },
			start: func(rs *appsv1.ReplicaSet) { rs.Status = appsv1.ReplicaSetStatus{} },
			keep:  func(rs, old *appsv1.ReplicaSet) { rs.Status = old.Status },
		}.prepare,
		Validate: validateReplicaSet,
		ValidateUpdate: func(obj, old fsm.Value) field.ErrorList {
			return apivalidation.ValidateImmutableField(obj.(*appsv1.ReplicaSet).Spec.Selector,
				old.(*appsv1.ReplicaSet).Spec.Selector, field.NewPath("spec", "selector"))
		},
		Subresources: map[string]Subresource{
			"status": statusOf(gvk, newBody, takeReplicaSetStatus),
			"scale": scaleOf(func(obj fsm.Value) scalable {
				rs := obj.(*appsv1.ReplicaSet)
				return scalable{replicas: &rs.Spec.Replicas, current: rs.Status.Replicas, selector: rs.Spec.Selector}
			}),
		},
		Fields: func(obj fsm.Value) fields.Set {
			return fields.Set{"status.replicas": strconv.Itoa(int(obj.(*appsv1.ReplicaSet).Status.Replicas))}
		},
		Columns: append([]metav1.TableColumnDefinition{
			column("Desired", "integer", appsv1.ReplicaSetSpec{}.SwaggerDoc()["replicas"]),
			column("Current", "integer", appsv1.ReplicaSetStatus{}.SwaggerDoc()["replicas"]),
			column("Ready", "integer", appsv1.ReplicaSetStatus{}.SwaggerDoc()["readyReplicas"]),
			ageColumn(),
		}, templateColumns(appsv1.ReplicaSetSpec{}.SwaggerDoc()["selector"])...),
		Cells: func(obj fsm.Value, now time.Time) []any {
			rs := obj.(*appsv1.ReplicaSet)
			return append([]any{
				int64(valueOf(rs.Spec.Replicas)), int64(rs.Status.Replicas), int64(rs.Status.ReadyReplicas), age(obj, now),
			}, templateCells(&rs.Spec.Template.Spec, rs.Spec.Selector)...)
		},
	}
}

func validateReplicaSet(obj fsm.Value) field.ErrorList {
	rs, path := obj.(*appsv1.ReplicaSet), field.NewPath("spec")
	errs := nonNegative(
		count{path.Child("replicas"), valueOf(rs.Spec.Replicas)},
		count{path.Child("minReadySeconds"), rs.Spec.MinReadySeconds},
	)
	errs = append(errs, validateSelector(rs.Spec.Selector, rs.Spec.Template.Labels, "deployment", path)...)
	return append(errs, podspec.ValidateLasting(&rs.Spec.Template, "ReplicaSet", path.Child("template"))...)
}

func takeReplicaSetStatus(rs, body *appsv1.ReplicaSet) field.ErrorList {
	rs.Status = body.Status
	s, path := &rs.Status, field.NewPath("status")
	errs := nonNegative(
		count{path.Child("replicas"), s.Replicas}, count{path.Child("fullyLabeledReplicas"), s.FullyLabeledReplicas},
		count{path.Child("readyReplicas"), s.ReadyReplicas}, count{path.Child("availableReplicas"), s.AvailableReplicas},
	)
	errs = append(errs, atMost(s.Replicas, "cannot be greater than status.replicas",
		count{path.Child("fullyLabeledReplicas"), s.FullyLabeledReplicas}, count{path.Child("readyReplicas"), s.ReadyReplicas},
		count{path.Child("availableReplicas"), s.AvailableReplicas})...)
	return append(errs, atMost(s.ReadyReplicas, "cannot be greater than readyReplicas",
		count{path.Child("availableReplicas"), s.AvailableReplicas})...)
}
