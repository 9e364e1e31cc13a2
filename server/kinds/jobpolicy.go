package kinds

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Kubernetes' limits on a job's policies.
const (
	maxPolicyRules      = 20
	maxExitCodes        = 255
	maxPolicyConditions = 20
	maxSucceededIndexes = 64 << 10
)

func validateJobPolicies(spec *batchv1.JobSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if spec.PodFailurePolicy != nil {
		errs = append(errs, validateFailurePolicy(spec, path.Child("podFailurePolicy", "rules"))...)
	}
	switch at := path.Child("successPolicy"); {
	case spec.SuccessPolicy == nil:
	case indexed(spec):
		errs = append(errs, validateSuccessPolicy(spec, at.Child("rules"))...)
	default:
		errs = append(errs, field.Invalid(at, *spec.SuccessPolicy, "requires indexed completion mode"))
	}
	at := path.Child("podReplacementPolicy")
	switch {
	case spec.PodReplacementPolicy == nil:
	case spec.PodFailurePolicy != nil:
		errs = append(errs, oneOf(at, *spec.PodReplacementPolicy, batchv1.Failed)...)
	default:
		errs = append(errs, oneOf(at, *spec.PodReplacementPolicy, batchv1.Failed, batchv1.TerminatingOrFailed)...)
	}
	return errs
}

func validateFailurePolicy(spec *batchv1.JobSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	rules := spec.PodFailurePolicy.Rules
	if len(rules) > maxPolicyRules {
		errs = append(errs, field.TooMany(path, len(rules), maxPolicyRules))
	}
	containers := sets.New[string]()
	for _, list := range [][]corev1.Container{spec.Template.Spec.Containers, spec.Template.Spec.InitContainers} {
		for i := range list {
			containers.Insert(list[i].Name)
		}
	}
	for i, rule := range rules {
		at := path.Index(i)
		if rule.Action == batchv1.PodFailurePolicyActionFailIndex && spec.BackoffLimitPerIndex == nil {
			errs = append(errs, field.Invalid(at.Child("action"), rule.Action, "requires the backoffLimitPerIndex to be set"))
		}
		errs = append(errs, requireValid(at.Child("action"), rule.Action, batchv1.PodFailurePolicyActionCount,
			batchv1.PodFailurePolicyActionFailIndex, batchv1.PodFailurePolicyActionFailJob, batchv1.PodFailurePolicyActionIgnore)...)
		errs = append(errs, validateFailureRule(&rule, containers, at)...)
	}
	return errs
}

// requireValid is oneOf for a field that must be set; what is missing is told the choices.
func requireValid[T ~string](path *field.Path, value T, allowed ...T) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, fmt.Sprintf("valid values: %q", allowed))}
	}
	return oneOf(path, value, allowed...)
}

func validateFailureRule(rule *batchv1.PodFailurePolicyRule, containers sets.Set[string], path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if rule.OnExitCodes != nil {
		errs = append(errs, validateExitCodes(rule.OnExitCodes, containers, path.Child("onExitCodes"))...)
	}
	at := path.Child("onPodConditions")
	if len(rule.OnPodConditions) > maxPolicyConditions {
		errs = append(errs, field.TooMany(at, len(rule.OnPodConditions), maxPolicyConditions))
	}
	for i, c := range rule.OnPodConditions {
		errs = append(errs, invalid(at.Index(i).Child("type"), string(c.Type), qualifiedName(c.Type))...)
		errs = append(errs, requireValid(at.Index(i).Child("status"), c.Status, corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown)...)
	}
	switch codes, conditions := rule.OnExitCodes != nil, len(rule.OnPodConditions) > 0; {
	case codes && conditions:
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, "specifying both OnExitCodes and OnPodConditions is not supported"))
	case !codes && !conditions:
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, "specifying one of OnExitCodes and OnPodConditions is required"))
	}
	return errs
}

func validateExitCodes(codes *batchv1.PodFailurePolicyOnExitCodesRequirement, containers sets.Set[string], path *field.Path) field.ErrorList {
	errs := requireValid(path.Child("operator"), codes.Operator, batchv1.PodFailurePolicyOnExitCodesOpIn, batchv1.PodFailurePolicyOnExitCodesOpNotIn)
	if codes.ContainerName != nil && !containers.Has(*codes.ContainerName) {
		errs = append(errs, field.Invalid(path.Child("containerName"), *codes.ContainerName,
			"must be one of the container or initContainer names in the pod template"))
	}
	at := path.Child("values")
	switch n := len(codes.Values); {
	case n == 0:
		errs = append(errs, field.Invalid(at, codes.Values, "at least one value is required"))
	case n > maxExitCodes:
		errs = append(errs, field.TooMany(at, n, maxExitCodes))
	}
	seen := sets.New[int32]()
	for i, code := range codes.Values {
		if codes.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn && code == 0 {
			errs = append(errs, field.Invalid(at.Index(i), code, "must not be 0 for the In operator"))
		}
		if seen.Has(code) {
			errs = append(errs, field.Duplicate(at.Index(i), code))
		}
		seen.Insert(code)
	}
	if !slices.IsSorted(codes.Values) {
		errs = append(errs, field.Invalid(at, codes.Values, "must be ordered"))
	}
	return errs
}

func validateSuccessPolicy(spec *batchv1.JobSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch n := len(spec.SuccessPolicy.Rules); {
	case n == 0:
		errs = append(errs, field.Required(path, "at least one rules must be specified when the successPolicy is specified"))
	case n > maxPolicyRules:
		errs = append(errs, field.TooMany(path, n, maxPolicyRules))
	}
	for i := range spec.SuccessPolicy.Rules {
		errs = append(errs, validateSuccessRule(&spec.SuccessPolicy.Rules[i], valueOf(spec.Completions), path.Index(i))...)
	}
	return errs
}

func validateSuccessRule(rule *batchv1.SuccessPolicyRule, completions int32, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if rule.SucceededCount == nil && rule.SucceededIndexes == nil {
		errs = append(errs, field.Required(path, "at least one of succeededCount or succeededIndexes must be specified"))
	}
	named := int32(0)
	if rule.SucceededIndexes != nil {
		at := path.Child("succeededIndexes")
		if len(*rule.SucceededIndexes) > maxSucceededIndexes {
			errs = append(errs, field.TooLong(at, "", maxSucceededIndexes))
		}
		intervals, err := parseIndexes(*rule.SucceededIndexes, completions)
		if err != nil {
			errs = append(errs, field.Invalid(at, *rule.SucceededIndexes, fmt.Sprintf("error parsing succeededIndexes: %s", err)))
		}
		named = intervals.total()
	}
	if rule.SucceededCount == nil {
		return errs
	}
	at := path.Child("succeededCount")
	errs = append(errs, nonNegative(count{at, *rule.SucceededCount})...)
	errs = append(errs, atMost(completions, fmt.Sprintf("must be less than or equal to %d (the number of specified completions)", completions),
		count{at, *rule.SucceededCount})...)
	if rule.SucceededIndexes != nil {
		errs = append(errs, atMost(named, fmt.Sprintf("must be less than or equal to %d (the number of indexes in the specified succeededIndexes field)", named),
			count{at, *rule.SucceededCount})...)
	}
	return errs
}
