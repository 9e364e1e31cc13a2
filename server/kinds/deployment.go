package kinds

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

func deployment() *Kind {
	gvk := appsv1.SchemeGroupVersion.WithKind("Deployment")
	newBody := func() fsm.Value { return &appsv1.Deployment{} }
	return &Kind{
		GVK:      gvk,
		Resource: "deployments", Singular: "deployment", ShortNames: []string{"deploy"}, Categories: []string{"all"},
		Namespaced: true,
		New:        newBody,
		NewList:    func() runtime.Object { return &appsv1.DeploymentList{} },
		Default:    defaultDeployment,
		Prepare: specified[*appsv1.Deployment]{
			spec:  func(d *appsv1.Deployment) any { return &d.Spec },
			start: func(d *appsv1.Deployment) { d.Status = appsv1.DeploymentStatus{} },
			keep:  func(d, old *appsv1.Deployment) { d.Status = old.Status },
		}.prepare,
		Validate: validateDeployment,
		ValidateUpdate: func(obj, old fsm.Value) field.ErrorList {
			return apivalidation.ValidateImmutableField(obj.(*appsv1.Deployment).Spec.Selector,
				old.(*appsv1.Deployment).Spec.Selector, field.NewPath("spec", "selector"))
		},
		Subresources: map[string]Subresource{
			"status": statusOf(gvk, newBody, takeDeploymentStatus),
			"scale": scaleOf(func(obj fsm.Value) scalable {
				d := obj.(*appsv1.Deployment)
				return scalable{replicas: &d.Spec.Replicas, current: d.Status.Replicas, selector: d.Spec.Selector}
			}),
		},
		Columns: append([]metav1.TableColumnDefinition{
			column("Ready", "string", "Number of the pod with ready state"),
			column("Up-to-date", "string", appsv1.DeploymentStatus{}.SwaggerDoc()["updatedReplicas"]),
			column("Available", "string", appsv1.DeploymentStatus{}.SwaggerDoc()["availableReplicas"]),
			ageColumn(),
		}, templateColumns(appsv1.DeploymentSpec{}.SwaggerDoc()["selector"])...),
		Cells: func(obj fsm.Value, now time.Time) []any {
			d := obj.(*appsv1.Deployment)
			return append([]any{
				fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, valueOf(d.Spec.Replicas)),
				int64(d.Status.UpdatedReplicas), int64(d.Status.AvailableReplicas), age(obj, now),
			}, templateCells(&d.Spec.Template.Spec, d.Spec.Selector)...)
		},
	}
}

func defaultDeployment(obj fsm.Value) {
	spec := &obj.(*appsv1.Deployment).Spec
	setPointer(&spec.Replicas, 1)
	setPointer(&spec.RevisionHistoryLimit, 10)
	setPointer(&spec.ProgressDeadlineSeconds, 600)
	setDefault(&spec.Strategy.Type, appsv1.RollingUpdateDeploymentStrategyType)
	if spec.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
		setPointer(&spec.Strategy.RollingUpdate, appsv1.RollingUpdateDeployment{})
		setPointer(&spec.Strategy.RollingUpdate.MaxUnavailable, intstr.FromString("25%"))
		setPointer(&spec.Strategy.RollingUpdate.MaxSurge, intstr.FromString("25%"))
	}
	podspec.Default(&spec.Template.Spec)
}

func validateDeployment(obj fsm.Value) field.ErrorList {
	spec, path := &obj.(*appsv1.Deployment).Spec, field.NewPath("spec")
	errs := nonNegative(
		count{path.Child("replicas"), valueOf(spec.Replicas)},
		count{path.Child("minReadySeconds"), spec.MinReadySeconds},
		count{path.Child("revisionHistoryLimit"), valueOf(spec.RevisionHistoryLimit)},
		count{path.Child("progressDeadlineSeconds"), valueOf(spec.ProgressDeadlineSeconds)},
	)
	errs = append(errs, validateSelector(spec.Selector, spec.Template.Labels, "deployment", path)...)
	errs = append(errs, podspec.ValidateLasting(&spec.Template, "ReplicaSet", path.Child("template"))...)
	errs = append(errs, validateStrategy(&spec.Strategy, path.Child("strategy"))...)
	if spec.ProgressDeadlineSeconds != nil && *spec.ProgressDeadlineSeconds <= spec.MinReadySeconds {
		errs = append(errs, field.Invalid(path.Child("progressDeadlineSeconds"), *spec.ProgressDeadlineSeconds,
			"must be greater than minReadySeconds"))
	}
	return errs
}

func validateStrategy(s *appsv1.DeploymentStrategy, path *field.Path) field.ErrorList {
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate != nil {
			return field.ErrorList{field.Forbidden(path.Child("rollingUpdate"),
				"may not be specified when strategy `type` is 'Recreate'")}
		}
		return nil
	case appsv1.RollingUpdateDeploymentStrategyType:
		if s.RollingUpdate == nil {
			return field.ErrorList{field.Required(path.Child("rollingUpdate"), "this should be defaulted and never be nil")}
		}
		return validateRolling(s.RollingUpdate, path.Child("rollingUpdate"))
	}
	return oneOf(path.Child("type"), s.Type, appsv1.RecreateDeploymentStrategyType, appsv1.RollingUpdateDeploymentStrategyType)
}

func validateRolling(r *appsv1.RollingUpdateDeployment, path *field.Path) field.ErrorList {
	unavailable, surge := path.Child("maxUnavailable"), path.Child("maxSurge")
	errs := validateShare(r.MaxUnavailable, unavailable)
	errs = append(errs, validateShare(r.MaxSurge, surge)...)
	if share(r.MaxUnavailable) == 0 && share(r.MaxSurge) == 0 {
		errs = append(errs, field.Invalid(unavailable, r.MaxUnavailable, "may not be 0 when `maxSurge` is 0"))
	}
	return append(errs, validateWhole(r.MaxUnavailable, unavailable)...)
}

// validateWhole refuses more than all.
func validateWhole(value *intstr.IntOrString, path *field.Path) field.ErrorList {
	if value != nil && value.Type == intstr.String && share(value) > 100 {
		return field.ErrorList{field.Invalid(path, value, "must not be greater than 100%")}
	}
	return nil
}

// validateShare checks a number of pods or a percentage of them.
func validateShare(value *intstr.IntOrString, path *field.Path) field.ErrorList {
	switch {
	case value == nil:
		return nil
	case value.Type == intstr.String:
		return invalid(path, *value, validation.IsValidPercent(value.StrVal))
	}
	return apivalidation.ValidateNonnegativeField(int64(value.IntVal), path)
}

// share is the number, whether of pods or of percents; zero when it is neither.
func share(value *intstr.IntOrString) int {
	switch {
	case value == nil:
		return 0
	case value.Type == intstr.Int:
		return int(value.IntVal)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(value.StrVal, "%"))
	if err != nil {
		return 0
	}
	return n
}

func takeDeploymentStatus(d, body *appsv1.Deployment) field.ErrorList {
	d.Status = body.Status
	s, path := &d.Status, field.NewPath("status")
	errs := apivalidation.ValidateNonnegativeField(s.ObservedGeneration, path.Child("observedGeneration"))
	errs = append(errs, nonNegative(
		count{path.Child("replicas"), s.Replicas}, count{path.Child("updatedReplicas"), s.UpdatedReplicas},
		count{path.Child("readyReplicas"), s.ReadyReplicas}, count{path.Child("availableReplicas"), s.AvailableReplicas},
		count{path.Child("unavailableReplicas"), s.UnavailableReplicas},
	)...)
	errs = append(errs, atMost(s.Replicas, "cannot be greater than status.replicas",
		count{path.Child("updatedReplicas"), s.UpdatedReplicas}, count{path.Child("readyReplicas"), s.ReadyReplicas},
		count{path.Child("availableReplicas"), s.AvailableReplicas})...)
	return append(errs, atMost(s.ReadyReplicas, "cannot be greater than readyReplicas",
		count{path.Child("availableReplicas"), s.AvailableReplicas})...)
}
