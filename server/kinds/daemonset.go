package kinds

import (
	"maps"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

func daemonSet() *Kind {
	gvk := appsv1.SchemeGroupVersion.WithKind("DaemonSet")
	newBody := func() fsm.Value { return &appsv1.DaemonSet{} }
	return &Kind{
		GVK:      gvk,
		Resource: "daemonsets", Singular: "daemonset", ShortNames: []string{"ds"}, Categories: []string{"all"},
		Namespaced: true,
		New:        newBody,
		NewList:    func() runtime.Object { return &appsv1.DaemonSetList{} },
		Default:    defaultDaemonSet,
		Prepare:    prepareDaemonSet,
		Validate:   validateDaemonSet,
		ValidateUpdate: func(obj, old fsm.Value) field.ErrorList {
			return apivalidation.ValidateImmutableField(obj.(*appsv1.DaemonSet).Spec.Selector,
				old.(*appsv1.DaemonSet).Spec.Selector, field.NewPath("spec", "selector"))
		},
		Subresources: map[string]Subresource{"status": statusOf(gvk, newBody, takeDaemonSetStatus)},
		Columns:      daemonSetColumns(),
		Cells: func(obj fsm.Value, now time.Time) []any {
			ds := obj.(*appsv1.DaemonSet)
			s, pods := &ds.Status, &ds.Spec.Template.Spec
			return append([]any{
				int64(s.DesiredNumberScheduled), int64(s.CurrentNumberScheduled), int64(s.NumberReady),
				int64(s.UpdatedNumberScheduled), int64(s.NumberAvailable), labels.FormatLabels(pods.NodeSelector), age(obj, now),
			}, templateCells(pods, ds.Spec.Selector)...)
		},
	}
}

func daemonSetColumns() []metav1.TableColumnDefinition {
	status := appsv1.DaemonSetStatus{}.SwaggerDoc()
	return append([]metav1.TableColumnDefinition{
		column("Desired", "integer", status["desiredNumberScheduled"]),
		column("Current", "integer", status["currentNumberScheduled"]),
		column("Ready", "integer", status["numberReady"]),
		column("Up-to-date", "integer", status["updatedNumberScheduled"]),
		column("Available", "integer", status["numberAvailable"]),
		column("Node Selector", "string", corev1.PodSpec{}.SwaggerDoc()["nodeSelector"]),
		ageColumn(),
	}, templateColumns(appsv1.DaemonSetSpec{}.SwaggerDoc()["selector"])...)
}

func defaultDaemonSet(obj fsm.Value) {
	spec := &obj.(*appsv1.DaemonSet).Spec
	setDefault(&spec.UpdateStrategy.Type, appsv1.RollingUpdateDaemonSetStrategyType)
	if spec.UpdateStrategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		setPointer(&spec.UpdateStrategy.RollingUpdate, appsv1.RollingUpdateDaemonSet{})
		setPointer(&spec.UpdateStrategy.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
		setPointer(&spec.UpdateStrategy.RollingUpdate.MaxSurge, intstr.FromInt32(0))
	}
	setPointer(&spec.RevisionHistoryLimit, 10)
	podspec.Default(&spec.Template.Spec)
}

// prepareDaemonSet counts the changes of the template in an annotation too, as Kubernetes does since its first days.
func prepareDaemonSet(obj, before fsm.Value) {
	specified[*appsv1.DaemonSet]{
		spec:  func(ds *appsv1.DaemonSet) any { return &ds.Spec },
		start: func(ds *appsv1.DaemonSet) { ds.Status = appsv1.DaemonSetStatus{} },
		keep:  func(ds, old *appsv1.DaemonSet) { ds.Status = old.Status },
	}.prepare(obj, before)
	ds, n := obj.(*appsv1.DaemonSet), int64(1)
	if before == nil {
		n = max(templateGeneration(ds), n)
	} else {
		old := before.(*appsv1.DaemonSet)
		n = max(templateGeneration(old), n)
		if !equality.Semantic.DeepEqual(&ds.Spec.Template, &old.Spec.Template) {
			n++
		}
	}
	annotations := maps.Clone(ds.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[appsv1.DeprecatedTemplateGeneration] = strconv.FormatInt(n, 10)
	ds.Annotations = annotations
}

// templateGeneration is zero when the annotation says nothing that can be read.
func templateGeneration(ds *appsv1.DaemonSet) int64 {
	n, err := strconv.ParseInt(ds.Annotations[appsv1.DeprecatedTemplateGeneration], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func validateDaemonSet(obj fsm.Value) field.ErrorList {
	spec, path := &obj.(*appsv1.DaemonSet).Spec, field.NewPath("spec")
	errs := validateSelector(spec.Selector, spec.Template.Labels, "daemonset", path)
	errs = append(errs, podspec.ValidateLasting(&spec.Template, "DaemonSet", path.Child("template"))...)
	errs = append(errs, nonNegative(count{path.Child("minReadySeconds"), spec.MinReadySeconds})...)
	errs = append(errs, validateDaemonSetStrategy(&spec.UpdateStrategy, path.Child("updateStrategy"))...)
	return append(errs, nonNegative(count{path.Child("revisionHistoryLimit"), valueOf(spec.RevisionHistoryLimit)})...)
}

func validateDaemonSetStrategy(s *appsv1.DaemonSetUpdateStrategy, path *field.Path) field.ErrorList {
	rolling := path.Child("rollingUpdate")
	switch {
	case s.Type == appsv1.OnDeleteDaemonSetStrategyType:
		return nil
	case s.Type != appsv1.RollingUpdateDaemonSetStrategyType:
		return field.ErrorList{field.NotSupported(path, s, []appsv1.DaemonSetUpdateStrategyType{
			appsv1.RollingUpdateDaemonSetStrategyType, appsv1.OnDeleteDaemonSetStrategyType})}
	case s.RollingUpdate == nil:
		return field.ErrorList{field.Required(rolling, "")}
	}
	unavailable, surge := s.RollingUpdate.MaxUnavailable, s.RollingUpdate.MaxSurge
	errs := validateShare(unavailable, rolling.Child("maxUnavailable"))
	errs = append(errs, validateShare(surge, rolling.Child("maxSurge"))...)
	errs = append(errs, validateWhole(unavailable, rolling.Child("maxUnavailable"))...)
	errs = append(errs, validateWhole(surge, rolling.Child("maxSurge"))...)
	switch {
	case share(unavailable) != 0 && share(surge) != 0:
		errs = append(errs, field.Invalid(rolling.Child("maxSurge"), surge, "may not be set when maxUnavailable is non-zero"))
	case share(unavailable) == 0 && share(surge) == 0:
		errs = append(errs, field.Required(rolling.Child("maxUnavailable"), "cannot be 0 when maxSurge is 0"))
	}
	return errs
}

func takeDaemonSetStatus(ds, body *appsv1.DaemonSet) field.ErrorList {
	collisions := valueOf(ds.Status.CollisionCount)
	ds.Status = body.Status
	s, path := &ds.Status, field.NewPath("status")
	errs := nonNegative(
		count{path.Child("currentNumberScheduled"), s.CurrentNumberScheduled},
		count{path.Child("numberMisscheduled"), s.NumberMisscheduled},
		count{path.Child("desiredNumberScheduled"), s.DesiredNumberScheduled},
		count{path.Child("numberReady"), s.NumberReady},
	)
	errs = append(errs, apivalidation.ValidateNonnegativeField(s.ObservedGeneration, path.Child("observedGeneration"))...)
	errs = append(errs, nonNegative(
		count{path.Child("updatedNumberScheduled"), s.UpdatedNumberScheduled},
		count{path.Child("numberAvailable"), s.NumberAvailable},
		count{path.Child("numberUnavailable"), s.NumberUnavailable},
	)...)
	return append(errs, validateCollisions(s.CollisionCount, collisions, path.Child("collisionCount"))...)
}
