package kinds

import (
	"maps"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

func replicationController() *Kind {
	gvk := corev1.SchemeGroupVersion.WithKind("ReplicationController")
	newBody := func() fsm.Value { return &corev1.ReplicationController{} }
	return &Kind{
		GVK:      gvk,
		Resource: "replicationcontrollers", Singular: "replicationcontroller", ShortNames: []string{"rc"}, Categories: []string{"all"},
		Namespaced: true,
		New:        newBody,
		NewList:    func() runtime.Object { return &corev1.ReplicationControllerList{} },
		Default:    defaultReplicationController,
		Prepare: specified[*corev1.ReplicationController]{
			spec:  func(rc *corev1.ReplicationController) any { return &rc.Spec },
			start: func(rc *corev1.ReplicationController) { rc.Status = corev1.ReplicationControllerStatus{} },
			keep:  func(rc, old *corev1.ReplicationController) { rc.Status = old.Status },
		}.prepare,
		Validate: validateReplicationController,
		Subresources: map[string]Subresource{
			"status": statusOf(gvk, newBody, takeReplicationControllerStatus),
			"scale": scaleOf(func(obj fsm.Value) scalable {
				rc := obj.(*corev1.ReplicationController)
				return scalable{replicas: &rc.Spec.Replicas, current: rc.Status.Replicas, selector: &metav1.LabelSelector{MatchLabels: rc.Spec.Selector}}
			}),
		},
		Fields: func(obj fsm.Value) fields.Set {
			return fields.Set{"status.replicas": strconv.Itoa(int(obj.(*corev1.ReplicationController).Status.Replicas))}
		},
		Columns: append([]metav1.TableColumnDefinition{
			column("Desired", "integer", corev1.ReplicationControllerSpec{}.SwaggerDoc()["replicas"]),
			column("Current", "integer", corev1.ReplicationControllerStatus{}.SwaggerDoc()["replicas"]),
			column("Ready", "integer", corev1.ReplicationControllerStatus{}.SwaggerDoc()["readyReplicas"]),
			ageColumn(),
		}, templateColumns(corev1.ReplicationControllerSpec{}.SwaggerDoc()["selector"])...),
		Cells: replicationControllerCells,
	}
}

// defaultReplicationController selects by the template's labels, and wears them, if nothing else is said.
func defaultReplicationController(obj fsm.Value) {
	rc := obj.(*corev1.ReplicationController)
	setPointer(&rc.Spec.Replicas, 1)
	if rc.Spec.Template == nil {
		return
	}
	if len(rc.Spec.Selector) == 0 {
		rc.Spec.Selector = maps.Clone(rc.Spec.Template.Labels)
	}
	if len(rc.Labels) == 0 {
		rc.Labels = maps.Clone(rc.Spec.Template.Labels)
	}
	podspec.Default(&rc.Spec.Template.Spec)
}

func validateReplicationController(obj fsm.Value) field.ErrorList {
	spec, path := &obj.(*corev1.ReplicationController).Spec, field.NewPath("spec")
	errs := nonNegative(count{path.Child("minReadySeconds"), spec.MinReadySeconds})
	if len(spec.Selector) == 0 {
		errs = append(errs, field.Required(path.Child("selector"), ""))
	}
	errs = append(errs, nonNegative(count{path.Child("replicas"), valueOf(spec.Replicas)})...)
	template := path.Child("template")
	if spec.Template == nil {
		return append(errs, field.Required(template, ""))
	}
	if !labels.SelectorFromSet(spec.Selector).Matches(labels.Set(spec.Template.Labels)) {
		errs = append(errs, field.Invalid(template.Child("metadata", "labels"), spec.Template.Labels,
			"`selector` does not match template `labels`"))
	}
	return append(errs, podspec.ValidateLasting(spec.Template, "ReplicationController", template)...)
}

func takeReplicationControllerStatus(rc, body *corev1.ReplicationController) field.ErrorList {
	rc.Status = body.Status
	s, path := &rc.Status, field.NewPath("status")
	errs := nonNegative(
		count{path.Child("replicas"), s.Replicas}, count{path.Child("fullyLabeledReplicas"), s.FullyLabeledReplicas},
		count{path.Child("readyReplicas"), s.ReadyReplicas}, count{path.Child("availableReplicas"), s.AvailableReplicas},
	)
	errs = append(errs, apivalidation.ValidateNonnegativeField(s.ObservedGeneration, path.Child("observedGeneration"))...)
	errs = append(errs, atMost(s.Replicas, "cannot be greater than status.replicas",
		count{path.Child("fullyLabeledReplicas"), s.FullyLabeledReplicas}, count{path.Child("readyReplicas"), s.ReadyReplicas},
		count{path.Child("availableReplicas"), s.AvailableReplicas})...)
	return append(errs, atMost(s.ReadyReplicas, "cannot be greater than readyReplicas",
		count{path.Child("availableReplicas"), s.AvailableReplicas})...)
}

func replicationControllerCells(obj fsm.Value, now time.Time) []any {
	rc, pods := obj.(*corev1.ReplicationController), &corev1.PodSpec{}
	if rc.Spec.Template != nil {
		pods = &rc.Spec.Template.Spec
	}
	cells := []any{
		int64(valueOf(rc.Spec.Replicas)), int64(rc.Status.Replicas), int64(rc.Status.ReadyReplicas), age(obj, now),
	}
	return append(append(cells, containerCells(pods)...), labels.FormatLabels(rc.Spec.Selector))
}
