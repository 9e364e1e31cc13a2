package kinds

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// sortedKeys are a map's keys in order, so that errors come in the same order every time.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func qualifiedName[T ~string](name T) []string { return validation.IsQualifiedName(string(name)) }

// nativeResource reports whether Kubernetes itself says what the resource is.
func nativeResource(name corev1.ResourceName) bool {
	domain, _, prefixed := strings.Cut(string(name), "/")
	return !prefixed || domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io")
}

// counted are the objects that a quota counts under names of their own.
var counted = sets.New(
	corev1.ResourcePods, corev1.ResourceQuotas, corev1.ResourceServices, corev1.ResourceReplicationControllers,
	corev1.ResourceSecrets, corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims,
	corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers,
)

// quotaResources are what a quota may limit without a prefix.
var quotaResources = counted.Union(sets.New(
	corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage, corev1.ResourceRequestsStorage,
	corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage,
	corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage,
))

func quotaResource(name corev1.ResourceName) bool {
	return quotaResources.Has(name) || strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) ||
		strings.HasPrefix(string(name), corev1.ResourceRequestsHugePagesPrefix)
}

// validateAnyResource checks the name of a resource of any kind of object.
func validateAnyResource(name corev1.ResourceName, path *field.Path) field.ErrorList {
	if errs := invalid(path, name, qualifiedName(name)); len(errs) > 0 {
		return errs
	}
	if strings.Contains(string(name), "/") || quotaResource(name) || name == corev1.ResourceStorage {
		return nil
	}
	return field.ErrorList{field.Invalid(path, name, "must be a standard resource type or fully qualified")}
}

// validateQuantity checks an amount: what is counted is counted in whole numbers.
func validateQuantity(name corev1.ResourceName, amount resource.Quantity, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if amount.Sign() < 0 {
		errs = append(errs, field.Invalid(path, amount.String(), "must be greater than or equal to 0"))
	}
	if (counted.Has(name) || extendedResource(name)) && amount.MilliValue()%1000 != 0 {
		errs = append(errs, field.Invalid(path, amount.String(), "must be an integer"))
	}
	return errs
}

// extendedResource reports whether the name is that of a device, which pods can only have as a whole.
func extendedResource(name corev1.ResourceName) bool {
	if nativeResource(name) || strings.HasPrefix(string(name), corev1.DefaultResourceRequestsPrefix) {
		return false
	}
	return len(qualifiedName(corev1.DefaultResourceRequestsPrefix+name)) == 0
}

// validateAmounts checks that none of the amounts is negative.
func validateAmounts(list corev1.ResourceList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range sortedKeys(list) {
		if amount := list[name]; amount.Sign() < 0 {
			errs = append(errs, field.Invalid(path.Key(string(name)), amount.Value(), "must be a valid resource quantity"))
		}
	}
	return errs
}
