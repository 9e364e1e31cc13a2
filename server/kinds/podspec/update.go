package podspec

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const immutable = "pod updates may not change fields other than `spec.containers[*].image`," +
	"`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing " +
	"tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

// ValidateUpdate returns what of the change of a pod from old is not allowed. A bound pod's node cannot change this
// way; it is bound through its binding.
func ValidateUpdate(spec, old *corev1.PodSpec, path *field.Path) field.ErrorList {
	errs := validateDeadline(spec, old, path.Child("activeDeadlineSeconds"))
	errs = append(errs, validateAdded(spec.Tolerations, old.Tolerations, path.Child("tolerations"))...)
	if len(spec.Containers) != len(old.Containers) || len(spec.InitContainers) != len(old.InitContainers) {
		return append(errs, field.Forbidden(path, "pod updates may not add or remove containers"))
	}
	masked := spec.DeepCopy()
	for i := range masked.Containers {
		masked.Containers[i].Image = old.Containers[i].Image
	}
	for i := range masked.InitContainers {
		masked.InitContainers[i].Image = old.InitContainers[i].Image
	}
	masked.ActiveDeadlineSeconds = old.ActiveDeadlineSeconds
	masked.Tolerations = old.Tolerations
	if negative(old.TerminationGracePeriodSeconds) && isOne(spec.TerminationGracePeriodSeconds) {
		masked.TerminationGracePeriodSeconds = old.TerminationGracePeriodSeconds
	}
	if fewerGates(masked.SchedulingGates, old.SchedulingGates) {
		maskGated(masked, old)
	}
	if !equality.Semantic.DeepEqual(masked, old) {
		errs = append(errs, field.Forbidden(path, immutable))
	}
	return errs
}

// maskGated permits what may change as long as a pod is kept from scheduling: its gates, and where it may go.
func maskGated(masked, old *corev1.PodSpec) {
	masked.SchedulingGates = old.SchedulingGates
	if len(old.SchedulingGates) > 0 {
		masked.NodeSelector, masked.Affinity = old.NodeSelector, old.Affinity
	}
}

// fewerGates reports whether gates were only taken away.
func fewerGates(gates, old []corev1.PodSchedulingGate) bool {
	had := make(map[string]bool, len(old))
	for _, g := range old {
		had[g.Name] = true
	}
	for _, g := range gates {
		if !had[g.Name] {
			return false
		}
	}
	return true
}

func validateDeadline(spec, old *corev1.PodSpec, path *field.Path) field.ErrorList {
	before, after := old.ActiveDeadlineSeconds, spec.ActiveDeadlineSeconds
	switch {
	case after == nil && before != nil:
		return field.ErrorList{field.Invalid(path, after, "must not update from a positive integer to nil value")}
	case after == nil || *after < 0 || *after > math.MaxInt32 || before == nil:
		return nil
	case *before < *after:
		return field.ErrorList{field.Invalid(path, *after, "must be less than or equal to previous value")}
	}
	return nil
}

func validateAdded(tolerations, old []corev1.Toleration, path *field.Path) field.ErrorList {
	for _, o := range old {
		found := false
		for _, t := range tolerations {
			// The seconds of a toleration may change; it stays the same toleration.
			o.TolerationSeconds, t.TolerationSeconds = nil, nil
			found = found || equality.Semantic.DeepEqual(o, t)
		}
		if !found {
			return field.ErrorList{field.Forbidden(path, "existing toleration can not be modified except its tolerationSeconds")}
		}
	}
	return nil
}

func negative(seconds *int64) bool { return seconds != nil && *seconds < 0 }

func isOne(seconds *int64) bool { return seconds != nil && *seconds == 1 }
