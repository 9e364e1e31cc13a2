package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// DefaultClaim fills in what a claim, or the template of one, left out.
func DefaultClaim(spec *corev1.PersistentVolumeClaimSpec) {
	setPointer(&spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	RoundUp(spec.Resources.Limits)
	RoundUp(spec.Resources.Requests)
}

// ValidateClaim returns all that is wrong with a claim, or the template of one.
func ValidateClaim(spec *corev1.PersistentVolumeClaimSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(spec.AccessModes) == 0 {
		errs = append(errs, field.Required(path.Child("accessModes"), "at least 1 access mode is required"))
	}
	if spec.Selector != nil {
		errs = append(errs, metav1validation.ValidateLabelSelector(spec.Selector,
			metav1validation.LabelSelectorValidationOptions{}, path.Child("selector"))...)
	}
	errs = append(errs, ValidateAccessModes(spec.AccessModes, path.Child("accessModes"))...)
	at := path.Child("resources").Key(string(corev1.ResourceStorage))
	if size, found := spec.Resources.Requests[corev1.ResourceStorage]; !found {
		errs = append(errs, field.Required(at, ""))
	} else if size.Sign() <= 0 {
		errs = append(errs, field.Invalid(at, size.String(), "must be greater than zero"))
	}
	errs = append(errs, validateClass(spec.StorageClassName, path.Child("storageClassName"))...)
	errs = append(errs, ValidateVolumeMode(spec.VolumeMode, path.Child("volumeMode"))...)
	errs = append(errs, validateDataSources(spec, path)...)
	return append(errs, validateClass(spec.VolumeAttributesClassName, path.Child("volumeAttributesClassName"))...)
}

// ValidateAccessModes checks how a volume may be used by several.
func ValidateAccessModes(modes []corev1.PersistentVolumeAccessMode, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	alone, others := false, false
	for _, mode := range modes {
		wrong := oneOf(path, mode, corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce, corev1.ReadWriteOncePod)
		errs = append(errs, wrong...)
		alone = alone || mode == corev1.ReadWriteOncePod
		others = others || mode != corev1.ReadWriteOncePod && len(wrong) == 0
	}
	if alone && others {
		errs = append(errs, field.Forbidden(path, "may not use ReadWriteOncePod with other access modes"))
	}
	return errs
}

// ValidateVolumeMode checks whether a volume is a file system or a block device.
func ValidateVolumeMode(mode *corev1.PersistentVolumeMode, path *field.Path) field.ErrorList {
	if mode == nil {
		return nil
	}
	return oneOf(path, *mode, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)
}

func validateClass(name *string, path *field.Path) field.ErrorList {
	if name == nil {
		return nil
	}
	return optionalName(path, *name, apivalidation.NameIsDNSSubdomain)
}

// validateDataSources checks what a volume is filled with, which is said twice: the newer field can name any object.
func validateDataSources(spec *corev1.PersistentVolumeClaimSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s := spec.DataSource; s != nil {
		errs = append(errs, validateDataSource(s, path.Child("dataSource"))...)
	}
	ref, namespace := spec.DataSourceRef, ""
	if ref != nil {
		at := path.Child("dataSourceRef")
		errs = append(errs, validateDataSource(localSource(ref), at)...)
		if ref.Namespace != nil {
			namespace = *ref.Namespace
		}
		errs = append(errs, optionalName(at.Child("namespace"), namespace, apivalidation.ValidateNamespaceName)...)
	}
	switch {
	case spec.DataSource == nil || ref == nil:
	case namespace != "":
		errs = append(errs, field.Invalid(path, path.Child("dataSource"),
			"may not be specified when dataSourceRef.namespace is specified"))
	case !equality.Semantic.DeepEqual(spec.DataSource, localSource(ref)):
		errs = append(errs, field.Invalid(path, path.Child("dataSource"), "must match dataSourceRef"))
	}
	return errs
}

func validateDataSource(s *corev1.TypedLocalObjectReference, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	if s.Kind == "" {
		errs = append(errs, field.Required(path.Child("kind"), ""))
	}
	switch {
	case s.APIGroup != nil && *s.APIGroup != "":
		errs = append(errs, invalid(path.Child("apiGroup"), *s.APIGroup, validation.IsDNS1123Subdomain(*s.APIGroup))...)
	case s.Kind != "PersistentVolumeClaim":
		errs = append(errs, field.Invalid(path, s.Kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
	}
	return errs
}

func localSource(ref *corev1.TypedObjectReference) *corev1.TypedLocalObjectReference {
	return &corev1.TypedLocalObjectReference{APIGroup: ref.APIGroup, Kind: ref.Kind, Name: ref.Name}
}

// NormalizeDataSources says in both fields what one of them says. A source that the older field cannot name is dropped
// from it, as it always was, unless the claim had one before.
func NormalizeDataSources(spec, old *corev1.PersistentVolumeClaimSpec) {
	kept := old != nil && (old.DataSource != nil || old.DataSourceRef != nil)
	if !kept && spec.DataSourceRef == nil && !claimOrSnapshot(spec.DataSource) {
		spec.DataSource = nil
	}
	switch source, ref := spec.DataSource, spec.DataSourceRef; {
	case source != nil && ref == nil:
		spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: source.APIGroup, Kind: source.Kind, Name: source.Name}
	case ref != nil && source == nil && (ref.Namespace == nil || *ref.Namespace == ""):
		spec.DataSource = localSource(ref)
	}
}

func claimOrSnapshot(s *corev1.TypedLocalObjectReference) bool {
	switch {
	case s == nil:
		return false
	case s.APIGroup == nil || *s.APIGroup == "":
		return s.Kind == "PersistentVolumeClaim"
	}
	return s.Kind == "VolumeSnapshot" && *s.APIGroup == "snapshot.storage.k8s.io"
}
