package kinds

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

func resourceQuota() *Kind {
	gvk := corev1.SchemeGroupVersion.WithKind("ResourceQuota")
	newBody := func() fsm.Value { return &corev1.ResourceQuota{} }
	return &Kind{
		GVK:      gvk,
		Resource: "resourcequotas", Singular: "resourcequota", ShortNames: []string{"quota"},
		Namespaced: true,
		New:        newBody,
		NewList:    func() runtime.Object { return &corev1.ResourceQuotaList{} },
		Default:    func(obj fsm.Value) { podspec.RoundUp(obj.(*corev1.ResourceQuota).Spec.Hard) },
		Prepare: specified[*corev1.ResourceQuota]{
			start: func(q *corev1.ResourceQuota) { q.Status = corev1.ResourceQuotaStatus{} },
			keep:  func(q, old *corev1.ResourceQuota) { q.Status = old.Status },
		}.prepare,
		Validate: validateResourceQuota,
		ValidateUpdate: func(obj, old fsm.Value) field.ErrorList {
			scopes, had := obj.(*corev1.ResourceQuota).Spec.Scopes, old.(*corev1.ResourceQuota).Spec.Scopes
			if sets.New(scopes...).Equal(sets.New(had...)) {
				return nil
			}
			return field.ErrorList{field.Invalid(field.NewPath("spec", "scopes"), scopes, "field is immutable")}
		},
		Subresources: map[string]Subresource{
			"status": statusOf(gvk, newBody, func(q, body *corev1.ResourceQuota) field.ErrorList {
				q.Status = body.Status
				podspec.RoundUp(q.Status.Hard)
				podspec.RoundUp(q.Status.Used)
				path := field.NewPath("status")
				return append(validateQuotaAmounts(q.Status.Hard, path.Child("hard")),
					validateQuotaAmounts(q.Status.Used, path.Child("used"))...)
			}),
		},
		Columns: []metav1.TableColumnDefinition{
			column("Request", "string", "Request represents a minimum amount of cpu/memory that a container may consume."),
			column("Limit", "string", "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node."),
			ageColumn(),
		},
		Cells: quotaCells,
	}
}

func quotaCells(obj fsm.Value, now time.Time) []any {
	q := obj.(*corev1.ResourceQuota)
	var requests, limits []string
	for _, name := range sortedKeys(q.Status.Hard) {
		hard, used := q.Status.Hard[name], q.Status.Used[name]
		text := fmt.Sprintf("%s: %s/%s", name, used.String(), hard.String())
		if strings.HasPrefix(string(name), "limits.") {
			limits = append(limits, text)
		} else {
			requests = append(requests, text)
		}
	}
	return []any{strings.Join(requests, ", "), strings.Join(limits, ", "), age(obj, now)}
}

func validateResourceQuota(obj fsm.Value) field.ErrorList {
	spec, path := &obj.(*corev1.ResourceQuota).Spec, field.NewPath("spec")
	errs := validateQuotaAmounts(spec.Hard, path.Child("hard"))
	errs = append(errs, validateScopes(spec, path.Child("scopes"))...)
	if spec.ScopeSelector != nil {
		errs = append(errs, validateScopeSelector(spec, path.Child("scopeSelector", "matchExpressions"))...)
	}
	return errs
}

func validateQuotaAmounts(list corev1.ResourceList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range sortedKeys(list) {
		at := path.Key(string(name))
		errs = append(errs, validateAnyResource(name, at)...)
		if !strings.Contains(string(name), "/") && !quotaResource(name) {
			errs = append(errs, field.Invalid(at, name, "must be a standard resource for quota"))
		}
		errs = append(errs, validateQuantity(name, list[name], at)...)
	}
	return errs
}

// scopeResources are what a quota may limit within each scope; the scopes that are not here do not exist.
var scopeResources = map[corev1.ResourceQuotaScope]sets.Set[corev1.ResourceName]{
	corev1.ResourceQuotaScopeTerminating:               computeResources,
	corev1.ResourceQuotaScopeNotTerminating:            computeResources,
	corev1.ResourceQuotaScopeNotBestEffort:             computeResources,
	corev1.ResourceQuotaScopePriorityClass:             computeResources,
	corev1.ResourceQuotaScopeCrossNamespacePodAffinity: computeResources,
	corev1.ResourceQuotaScopeBestEffort:                sets.New(corev1.ResourcePods),
	corev1.ResourceQuotaScopeVolumeAttributesClass:     sets.New(corev1.ResourcePersistentVolumeClaims, corev1.ResourceRequestsStorage),
}

var computeResources = sets.New(corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceLimitsCPU,
	corev1.ResourceLimitsMemory, corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory)

func validateScopes(spec *corev1.ResourceQuotaSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, scope := range spec.Scopes {
		if _, known := scopeResources[scope]; !known {
			errs = append(errs, field.Invalid(path, spec.Scopes, "unsupported scope"))
		}
		errs = append(errs, outOfScope(spec, scope, path, spec.Scopes)...)
	}
	return append(errs, conflictingScopes(sets.New(spec.Scopes...), spec.Scopes, path)...)
}

// outOfScope reports the limits that have no meaning within a scope.
func outOfScope(spec *corev1.ResourceQuotaSpec, scope corev1.ResourceQuotaScope, path *field.Path, value any) field.ErrorList {
	allowed, known := scopeResources[scope]
	var errs field.ErrorList
	for _, name := range sortedKeys(spec.Hard) {
		if known && quotaResource(name) && !allowed.Has(name) {
			errs = append(errs, field.Invalid(path, value, "unsupported scope applied to resource"))
		}
	}
	return errs
}

func conflictingScopes(scopes sets.Set[corev1.ResourceQuotaScope], value any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if scopes.HasAll(corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort) {
		errs = append(errs, field.Invalid(path, value, "conflicting scopes"))
	}
	if scopes.HasAll(corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating) {
		errs = append(errs, field.Invalid(path, value, "conflicting scopes"))
	}
	return errs
}

func validateScopeSelector(spec *corev1.ResourceQuotaSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	scopes := sets.New[corev1.ResourceQuotaScope]()
	for _, r := range spec.ScopeSelector.MatchExpressions {
		if _, known := scopeResources[r.ScopeName]; !known {
			errs = append(errs, field.Invalid(path.Child("scopeName"), r.ScopeName, "unsupported scope"))
		}
		errs = append(errs, outOfScope(spec, r.ScopeName, path, spec.ScopeSelector)...)
		errs = append(errs, validateScopeRequirement(r, path)...)
		scopes.Insert(r.ScopeName)
	}
	return append(errs, conflictingScopes(scopes, spec.Scopes, path)...)
}

func validateScopeRequirement(r corev1.ScopedResourceSelectorRequirement, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch r.ScopeName {
	case corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopeTerminating,
		corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		if r.Operator != corev1.ScopeSelectorOpExists {
			errs = append(errs, field.Invalid(path.Child("operator"), r.Operator,
				"must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "+
					"ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"))
		}
	}
	switch r.Operator {
	case corev1.ScopeSelectorOpIn, corev1.ScopeSelectorOpNotIn:
		if len(r.Values) == 0 {
			errs = append(errs, field.Required(path.Child("values"),
				"must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"))
		}
	case corev1.ScopeSelectorOpExists, corev1.ScopeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			errs = append(errs, field.Invalid(path.Child("values"), r.Values,
				"must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"))
		}
	default:
		errs = append(errs, field.Invalid(path.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	return errs
}
