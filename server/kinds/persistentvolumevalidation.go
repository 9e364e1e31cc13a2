package kinds

import (
	"path"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

func validatePersistentVolume(obj fsm.Value) field.ErrorList {
	v, at := obj.(*corev1.PersistentVolume), field.NewPath("spec")
	spec := &v.Spec
	var errs field.ErrorList
	if len(spec.AccessModes) == 0 {
		errs = append(errs, field.Required(at.Child("accessModes"), ""))
	}
	errs = append(errs, podspec.ValidateAccessModes(spec.AccessModes, at.Child("accessModes"))...)
	errs = append(errs, validateCapacity(spec.Capacity, at.Child("capacity"))...)
	if spec.PersistentVolumeReclaimPolicy != "" {
		errs = append(errs, oneOf(at.Child("persistentVolumeReclaimPolicy"), spec.PersistentVolumeReclaimPolicy,
			corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRecycle, corev1.PersistentVolumeReclaimRetain)...)
	}
	if spec.NodeAffinity != nil {
		errs = append(errs, validateVolumeAffinity(spec.NodeAffinity, at.Child("nodeAffinity"))...)
	}
	errs = append(errs, validateVolumeSource(v, at)...)
	if spec.HostPath != nil && path.Clean(spec.HostPath.Path) == "/" &&
		spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		errs = append(errs, field.Forbidden(at.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"))
	}
	if spec.StorageClassName != "" {
		errs = append(errs, invalid(at.Child("storageClassName"), spec.StorageClassName, apivalidation.NameIsDNSSubdomain(spec.StorageClassName, false))...)
	}
	errs = append(errs, podspec.ValidateVolumeMode(spec.VolumeMode, at.Child("volumeMode"))...)
	return append(errs, validateAttributesClass(spec, at)...)
}

func validateCapacity(capacity corev1.ResourceList, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(capacity) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	if _, found := capacity[corev1.ResourceStorage]; !found || len(capacity) > 1 {
		errs = append(errs, field.NotSupported(at, capacity, []corev1.ResourceName{corev1.ResourceStorage}))
	}
	errs = append(errs, validateAmounts(capacity, at)...)
	for _, name := range sortedKeys(capacity) {
		if amount := capacity[name]; amount.Sign() <= 0 {
			errs = append(errs, field.Invalid(at.Key(string(name)), amount.String(), "must be greater than zero"))
		}
	}
	return errs
}

func validateVolumeAffinity(a *corev1.VolumeNodeAffinity, at *field.Path) field.ErrorList {
	if a.Required == nil {
		return field.ErrorList{field.Required(at.Child("required"), "must specify required node constraints")}
	}
	return podspec.ValidateNodeSelector(a.Required, at.Child("required"))
}

func validateAttributesClass(spec *corev1.PersistentVolumeSpec, at *field.Path) field.ErrorList {
	if spec.VolumeAttributesClassName == nil {
		return nil
	}
	name, here := *spec.VolumeAttributesClassName, at.Child("volumeAttributesClassName")
	errs := invalid(here, name, apivalidation.NameIsDNSSubdomain(name, false))
	if name == "" {
		errs = field.ErrorList{field.Required(here, "an empty string is disallowed")}
	}
	if spec.CSI == nil {
		errs = append(errs, field.Required(at.Child("csi"), "has to be specified when using volumeAttributesClassName"))
	}
	return errs
}
