package kinds

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

// How large a job with an index for each pod may be: the indexes are kept in its status.
const (
	maxIndexedParallelism     = 100_000
	maxFailedIndexes          = 100_000
	manyCompletions           = 100_000
	maxParallelismForMany     = 10_000
	maxFailedIndexesForMany   = 10_000
	maxManagedBy              = 63
	cronSuffix, maxObjectName = 11, 63
)

func validateJob(obj fsm.Value) field.ErrorList {
	j, path := obj.(*batchv1.Job), field.NewPath("spec")
	errs := validateJobSpec(&j.Spec, path)
	if j.Spec.Selector == nil {
		errs = append(errs, field.Required(path.Child("selector"), ""))
	} else {
		errs = append(errs, metav1validation.ValidateLabelSelector(j.Spec.Selector, metav1validation.LabelSelectorValidationOptions{}, path.Child("selector"))...)
	}
	if selector, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil && !selector.Matches(labels.Set(j.Spec.Template.Labels)) {
		errs = append(errs, field.Invalid(path.Child("template", "metadata", "labels"), j.Spec.Template.Labels,
			"`selector` does not match template `labels`"))
	}
	return append(errs, validateIndexedName(j)...)
}

// validateOwnSelector refuses labels and selectors of the user's own where the job chooses them.
func validateOwnSelector(obj fsm.Value) field.ErrorList {
	j := obj.(*batchv1.Job)
	if j.Spec.Selector == nil || j.Spec.ManualSelector != nil && *j.Spec.ManualSelector {
		return nil
	}
	var errs field.ErrorList
	if j.UID == "" {
		errs = append(errs, field.Required(field.NewPath("metadata", "uid"), ""))
	}
	want, at := jobLabels(j), field.NewPath("spec", "template", "metadata", "labels")
	for _, key := range []string{legacyControllerUID, legacyJobName, batchv1.ControllerUidLabel, batchv1.JobNameLabel} {
		switch value, found := j.Spec.Template.Labels[key]; {
		case !found:
			errs = append(errs, field.Required(at.Key(key), fmt.Sprintf("must be '%s'", want[key])))
		case value != want[key]:
			errs = append(errs, field.Invalid(at.Key(key), j.Spec.Template.Labels, fmt.Sprintf("must be '%s'", want[key])))
		}
	}
	if selector, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil && !selector.Matches(labels.Set(want)) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "selector"), j.Spec.Selector, "`selector` not auto-generated"))
	}
	return errs
}

// validateIndexedName makes sure that the last pod can have its name and index as its host name.
func validateIndexedName(j *batchv1.Job) field.ErrorList {
	if !indexed(&j.Spec) || valueOf(j.Spec.Completions) <= 0 {
		return nil
	}
	last := fmt.Sprintf("%s-%d", j.Name, *j.Spec.Completions-1)
	if len(validation.IsDNS1123Label(last)) == 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata", "name"), j.Name,
		"will not able to create pod with invalid DNS label: "+last)}
}

func indexed(spec *batchv1.JobSpec) bool {
	return spec.CompletionMode != nil && *spec.CompletionMode == batchv1.IndexedCompletion
}

func validateJobSpec(spec *batchv1.JobSpec, path *field.Path) field.ErrorList {
	errs := nonNegative(count{path.Child("parallelism"), valueOf(spec.Parallelism)}, count{path.Child("completions"), valueOf(spec.Completions)})
	if spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, apivalidation.ValidateNonnegativeField(*spec.ActiveDeadlineSeconds, path.Child("activeDeadlineSeconds"))...)
	}
	errs = append(errs, nonNegative(
		count{path.Child("backoffLimit"), valueOf(spec.BackoffLimit)},
		count{path.Child("ttlSecondsAfterFinished"), valueOf(spec.TTLSecondsAfterFinished)},
		count{path.Child("backoffLimitPerIndex"), valueOf(spec.BackoffLimitPerIndex)},
		count{path.Child("maxFailedIndexes"), valueOf(spec.MaxFailedIndexes)},
	)...)
	if spec.MaxFailedIndexes != nil && spec.BackoffLimitPerIndex == nil {
		errs = append(errs, field.Required(path.Child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
	}
	if spec.ManagedBy != nil {
		errs = append(errs, validation.IsDomainPrefixedPath(path.Child("managedBy"), *spec.ManagedBy)...)
		if len(*spec.ManagedBy) > maxManagedBy {
			errs = append(errs, field.TooLong(path.Child("managedBy"), "", maxManagedBy))
		}
	}
	if spec.CompletionMode != nil {
		errs = append(errs, oneOf(path.Child("completionMode"), *spec.CompletionMode, batchv1.NonIndexedCompletion, batchv1.IndexedCompletion)...)
	}
	if indexed(spec) {
		errs = append(errs, validateIndexedJob(spec, path)...)
	} else if spec.CompletionMode == nil || *spec.CompletionMode == batchv1.NonIndexedCompletion {
		errs = append(errs, forbidIndexes(spec, path)...)
	}
	errs = append(errs, validateJobPolicies(spec, path)...)
	errs = append(errs, podspec.ValidateTemplate(&spec.Template, path.Child("template"))...)
	return append(errs, validateJobRestarts(spec, path.Child("template", "spec", "restartPolicy"))...)
}

func validateIndexedJob(spec *batchv1.JobSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	most := func(name string, value *int32, limit int32, format string, args ...any) {
		if value != nil && *value > limit {
			errs = append(errs, field.Invalid(path.Child(name), *value, "must be less than or equal to "+fmt.Sprintf(format, args...)))
		}
	}
	if spec.Completions == nil {
		errs = append(errs, field.Required(path.Child("completions"), "when completion mode is Indexed"))
	}
	most("parallelism", spec.Parallelism, maxIndexedParallelism, "%d when completion mode is Indexed", maxIndexedParallelism)
	if spec.Completions != nil {
		most("maxFailedIndexes", spec.MaxFailedIndexes, *spec.Completions, "completions")
	}
	most("maxFailedIndexes", spec.MaxFailedIndexes, maxFailedIndexes, "%d", maxFailedIndexes)
	if valueOf(spec.Completions) <= manyCompletions || spec.BackoffLimitPerIndex == nil {
		return errs
	}
	if spec.MaxFailedIndexes == nil {
		errs = append(errs, field.Required(path.Child("maxFailedIndexes"), fmt.Sprintf("must be specified when completions is above %d", manyCompletions)))
	}
	const many = "%d when completions are above %d and used with backoff limit per index"
	most("parallelism", spec.Parallelism, maxParallelismForMany, many, maxParallelismForMany, manyCompletions)
	most("maxFailedIndexes", spec.MaxFailedIndexes, maxFailedIndexesForMany, many, maxFailedIndexesForMany, manyCompletions)
	return errs
}

func forbidIndexes(spec *batchv1.JobSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if spec.BackoffLimitPerIndex != nil {
		errs = append(errs, field.Invalid(path.Child("backoffLimitPerIndex"), *spec.BackoffLimitPerIndex, "requires indexed completion mode"))
	}
	if spec.MaxFailedIndexes != nil {
		errs = append(errs, field.Invalid(path.Child("maxFailedIndexes"), *spec.MaxFailedIndexes, "requires indexed completion mode"))
	}
	return errs
}

func validateJobRestarts(spec *batchv1.JobSpec, path *field.Path) field.ErrorList {
	switch policy := spec.Template.Spec.RestartPolicy; policy {
	case "", corev1.RestartPolicyAlways:
		return field.ErrorList{field.Required(path, fmt.Sprintf("valid values: %q, %q", corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever))}
	case corev1.RestartPolicyNever:
		return nil
	case corev1.RestartPolicyOnFailure:
		if spec.PodFailurePolicy == nil {
			return nil
		}
		return field.ErrorList{field.Invalid(path, policy, fmt.Sprintf("only %q is supported when podFailurePolicy is specified", corev1.RestartPolicyNever))}
	default:
		return field.ErrorList{field.NotSupported(path, policy, []corev1.RestartPolicy{corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever})}
	}
}
