package kinds

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

func validateJobUpdate(obj, before fsm.Value) field.ErrorList {
	j, old, path := obj.(*batchv1.Job), before.(*batchv1.Job), field.NewPath("spec")
	errs := validateCompletionsUpdate(&j.Spec, &old.Spec, path.Child("completions"))
	errs = append(errs, apivalidation.ValidateImmutableField(j.Spec.Selector, old.Spec.Selector, path.Child("selector"))...)
	errs = append(errs, validateJobTemplateUpdate(j, old, path)...)
	for _, f := range []struct {
		name     string
		now, was any
	}{
		{"completionMode", j.Spec.CompletionMode, old.Spec.CompletionMode},
		{"podFailurePolicy", j.Spec.PodFailurePolicy, old.Spec.PodFailurePolicy},
		{"backoffLimitPerIndex", j.Spec.BackoffLimitPerIndex, old.Spec.BackoffLimitPerIndex},
		{"managedBy", j.Spec.ManagedBy, old.Spec.ManagedBy},
		{"successPolicy", j.Spec.SuccessPolicy, old.Spec.SuccessPolicy},
	} {
		errs = append(errs, apivalidation.ValidateImmutableField(f.now, f.was, path.Child(f.name))...)
	}
	return errs
}

// validateCompletionsUpdate lets a job with indexes change its size, and no other.
func validateCompletionsUpdate(spec, old *batchv1.JobSpec, path *field.Path) field.ErrorList {
	switch {
	case !indexed(spec):
		return apivalidation.ValidateImmutableField(spec.Completions, old.Completions, path)
	case equality.Semantic.DeepEqual(spec.Completions, old.Completions), spec.Completions == nil,
		*spec.Completions == valueOf(spec.Parallelism):
		return nil
	}
	return field.ErrorList{field.Invalid(path, spec.Completions, "can only be modified in tandem with spec.parallelism")}
}

// validateJobTemplateUpdate lets a job that is suspended, and has no pods, be placed elsewhere and be given other resources.
func validateJobTemplateUpdate(j, old *batchv1.Job, path *field.Path) field.ErrorList {
	suspended := old.Spec.Suspend != nil && *old.Spec.Suspend
	resting := old.Status.StartTime == nil || jobHas(&old.Status, batchv1.JobSuspended)
	if !suspended || !resting || old.Status.Active > 0 {
		return apivalidation.ValidateImmutableField(&j.Spec.Template, &old.Spec.Template, path.Child("template"))
	}
	allowed := old.Spec.Template.Spec.DeepCopy()
	maskPlacement(allowed, &j.Spec.Template.Spec)
	maskResources(allowed.Containers, j.Spec.Template.Spec.Containers)
	maskResources(allowed.InitContainers, j.Spec.Template.Spec.InitContainers)
	return apivalidation.ValidateImmutableField(j.Spec.Template.Spec, *allowed, path.Child("template.spec"))
}

func maskPlacement(allowed, now *corev1.PodSpec) {
	allowed.NodeSelector, allowed.Tolerations, allowed.SchedulingGates = now.NodeSelector, now.Tolerations, now.SchedulingGates
	switch {
	case allowed.Affinity == nil && now.Affinity == nil:
		return
	case allowed.Affinity == nil:
		allowed.Affinity = &corev1.Affinity{}
	}
	allowed.Affinity.NodeAffinity = nil
	if now.Affinity != nil {
		allowed.Affinity.NodeAffinity = now.Affinity.NodeAffinity
	} else if *allowed.Affinity == (corev1.Affinity{}) {
		allowed.Affinity = nil
	}
}

func maskResources(allowed, now []corev1.Container) {
	if len(allowed) != len(now) {
		return
	}
	for i := range allowed {
		if allowed[i].Name == now[i].Name {
			allowed[i].Resources = now[i].Resources
		}
	}
}
