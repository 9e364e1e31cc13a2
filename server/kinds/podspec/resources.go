package podspec

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// plainResources are those without a prefix that a container may ask for.
var plainResources = sets.New(corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage)

func validateResources(r *corev1.ResourceRequirements, path *field.Path) field.ErrorList {
	limits, requests := path.Child("limits"), path.Child("requests")
	errs := validateQuantities(r.Limits, limits)
	errs = append(errs, validateQuantities(r.Requests, requests)...)
	for _, name := range sortedNames(r.Requests) {
		request := r.Requests[name]
		limit, limited := r.Limits[name]
		if !limited {
			if !Overcommits(name) {
				errs = append(errs, field.Required(limits, "Limit must be set for non overcommitable resources"))
			}
			continue
		}
		if !Overcommits(name) && !equal(request, limit) {
			errs = append(errs, field.Invalid(requests, request.String(), fmt.Sprintf("must be equal to %s limit of %s", name, limit.String())))
		} else if request.Cmp(limit) > 0 {
			errs = append(errs, field.Invalid(requests, request.String(),
				fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String())))
		}
	}
	return errs
}

func validateQuantities(list corev1.ResourceList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range sortedNames(list) {
		at, quantity := path.Key(string(name)), list[name]
		errs = append(errs, ValidateResourceName(name, at)...)
		if quantity.Sign() < 0 {
			errs = append(errs, field.Invalid(at, quantity.String(), "must be greater than or equal to 0"))
		}
		if !plainResources.Has(name) && !strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) &&
			quantity.MilliValue()%1000 != 0 {
			errs = append(errs, field.Invalid(at, quantity.String(), "must be an integer"))
		}
	}
	return errs
}

// ValidateResourceName checks the name of what a container may ask for.
func ValidateResourceName(name corev1.ResourceName, path *field.Path) field.ErrorList {
	errs := invalid(path, name, validation.IsQualifiedName(string(name)))
	if len(errs) > 0 || strings.Contains(string(name), "/") || plainResources.Has(name) {
		return errs
	}
	if size, pages := strings.CutPrefix(string(name), corev1.ResourceHugePagesPrefix); pages {
		if _, err := resource.ParseQuantity(size); err == nil {
			return nil
		}
	}
	return field.ErrorList{field.Invalid(path, name, "must be a standard resource for containers")}
}

// Overcommits reports whether a request may be lower than its limit: not for huge pages, nor for devices.
func Overcommits(name corev1.ResourceName) bool {
	domain, _, prefixed := strings.Cut(string(name), "/")
	native := !prefixed || domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io")
	return native && !strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

func sortedNames(list corev1.ResourceList) []corev1.ResourceName {
	names := make([]corev1.ResourceName, 0, len(list))
	for name := range list {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
