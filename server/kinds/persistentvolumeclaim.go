package kinds

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

func persistentVolumeClaim() *Kind {
	gvk := corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim")
	newBody := func() fsm.Value { return &corev1.PersistentVolumeClaim{} }
	spec, status := corev1.PersistentVolumeClaimSpec{}.SwaggerDoc(), corev1.PersistentVolumeClaimStatus{}.SwaggerDoc()
	return &Kind{
		GVK:      gvk,
		Resource: "persistentvolumeclaims", Singular: "persistentvolumeclaim", ShortNames: []string{"pvc"},
		Namespaced: true,
		New:        newBody,
		NewList:    func() runtime.Object { return &corev1.PersistentVolumeClaimList{} },
		Default: func(obj fsm.Value) {
			c := obj.(*corev1.PersistentVolumeClaim)
			setDefault(&c.Status.Phase, corev1.ClaimPending)
			podspec.DefaultClaim(&c.Spec)
		},
		Prepare: prepareClaim,
		Validate: func(obj fsm.Value) field.ErrorList {
			return podspec.ValidateClaim(&obj.(*corev1.PersistentVolumeClaim).Spec, field.NewPath("spec"))
		},
		ValidateUpdate: validateClaimUpdate,
		Subresources:   map[string]Subresource{"status": statusOf(gvk, newBody, takeClaimStatus)},
		Columns: []metav1.TableColumnDefinition{
			column("Status", "string", status["phase"]),
			column("Volume", "string", spec["volumeName"]),
			column("Capacity", "string", status["capacity"]),
			column("Access Modes", "string", status["accessModes"]),
			column("StorageClass", "string", "StorageClass of the pvc"),
			column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pvc"),
			ageColumn(),
			wide("VolumeMode", "string", spec["volumeMode"]),
		},
		Cells: claimCells,
	}
}

// prepareClaim gives a new claim its phase: a status without one is not a claim's.
func prepareClaim(obj, before fsm.Value) {
	c := obj.(*corev1.PersistentVolumeClaim)
	if before == nil {
		c.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}
		podspec.NormalizeDataSources(&c.Spec, nil)
		return
	}
	old := before.(*corev1.PersistentVolumeClaim)
	c.Status = old.Status
	podspec.NormalizeDataSources(&c.Spec, &old.Spec)
}

// validateClaimUpdate lets a claim be bound, once, and a bound one grow; all else of it is what quotas and limits were
// checked against.
func validateClaimUpdate(obj, before fsm.Value) field.ErrorList {
	c, old := obj.(*corev1.PersistentVolumeClaim), before.(*corev1.PersistentVolumeClaim)
	spec := field.NewPath("spec")
	errs := apivalidation.ValidateImmutableField(c.Annotations[corev1.BetaStorageClassAnnotation],
		old.Annotations[corev1.BetaStorageClassAnnotation], field.NewPath("metadata", "annotations").Key(corev1.BetaStorageClassAnnotation))
	if upgradesClass(c, old) {
		errs = nil
	}
	if masked := maskClaim(c, old); !equality.Semantic.DeepEqual(masked, &old.Spec) {
		errs = append(errs, field.Forbidden(spec, "spec is immutable after creation except resources.requests and "+
			"volumeAttributesClassName for bound claims"))
	}
	size, was, has := c.Spec.Resources.Requests.Storage(), old.Spec.Resources.Requests.Storage(), old.Status.Capacity.Storage()
	if size.Cmp(*was) < 0 && size.Cmp(*has) <= 0 {
		errs = append(errs, field.Forbidden(spec.Child("resources", "requests", "storage"), "field can not be less than status.capacity"))
	}
	errs = append(errs, apivalidation.ValidateImmutableField(c.Spec.VolumeMode, old.Spec.VolumeMode, field.NewPath("volumeMode"))...)
	if old.Status.CurrentVolumeAttributesClassName == nil {
		return errs
	}
	switch class, at := c.Spec.VolumeAttributesClassName, spec.Child("volumeAttributesClassName"); {
	case equality.Semantic.DeepEqual(class, old.Spec.VolumeAttributesClassName):
	case class == nil:
		errs = append(errs, field.Forbidden(at, "update to nil is forbidden when status.currentVolumeAttributesClassName is not nil"))
	case *class == "":
		errs = append(errs, field.Forbidden(at, "update to empty string is forbidden when status.currentVolumeAttributesClassName is not nil"))
	}
	return errs
}

// upgradesClass reports whether the class moves from the annotation, where it was long ago, to its field.
func upgradesClass(c, old *corev1.PersistentVolumeClaim) bool {
	was, had := old.Annotations[corev1.BetaStorageClassAnnotation]
	now, has := c.Annotations[corev1.BetaStorageClassAnnotation]
	class := c.Spec.StorageClassName
	return had && old.Spec.StorageClassName == nil && class != nil && *class == was && (!has || now == was)
}

// maskClaim is the claim's specification with the old values of what may change.
func maskClaim(c, old *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaimSpec {
	masked := c.Spec.DeepCopy()
	if old.Spec.VolumeName == "" {
		masked.VolumeName = ""
	}
	annotated, had := old.Annotations[corev1.BetaStorageClassAnnotation]
	if class := c.Spec.StorageClassName; old.Spec.StorageClassName == nil && class != nil && (!had || *class == annotated) {
		masked.StorageClassName = nil
	}
	if old.Status.Phase != corev1.ClaimBound {
		return masked
	}
	if masked.Resources.Requests != nil {
		masked.Resources.Requests[corev1.ResourceStorage] = old.Spec.Resources.Requests[corev1.ResourceStorage]
	}
	masked.VolumeAttributesClassName = old.Spec.VolumeAttributesClassName
	return masked
}

func takeClaimStatus(c, body *corev1.PersistentVolumeClaim) field.ErrorList {
	c.Status = body.Status
	setDefault(&c.Status.Phase, corev1.ClaimPending)
	path := field.NewPath("status")
	errs := validateAmounts(c.Status.Capacity, path.Child("capacity"))
	resizes := path.Child("allocatedResourceStatuses")
	for _, name := range sortedKeys(c.Status.AllocatedResourceStatuses) {
		errs = append(errs, validateClaimResource(name, resizes)...)
		errs = append(errs, oneOf(resizes, c.Status.AllocatedResourceStatuses[name],
			corev1.PersistentVolumeClaimControllerResizeInfeasible, corev1.PersistentVolumeClaimControllerResizeInProgress,
			corev1.PersistentVolumeClaimNodeResizeInfeasible, corev1.PersistentVolumeClaimNodeResizeInProgress,
			corev1.PersistentVolumeClaimNodeResizePending)...)
	}
	allocated := path.Child("allocatedResources")
	for _, name := range sortedKeys(c.Status.AllocatedResources) {
		errs = append(errs, validateClaimResource(name, allocated)...)
	}
	return append(errs, validateAmounts(c.Status.AllocatedResources, allocated)...)
}

// validateClaimResource knows of one resource: the storage. Others must be somebody's own.
func validateClaimResource(name corev1.ResourceName, path *field.Path) field.ErrorList {
	if errs := invalid(path, name, qualifiedName(name)); len(errs) > 0 {
		return errs
	}
	if nativeResource(name) && name != corev1.ResourceStorage {
		return field.ErrorList{field.NotSupported(path, name, []corev1.ResourceName{corev1.ResourceStorage})}
	}
	return nil
}

const unset = "<unset>"

func claimCells(obj fsm.Value, now time.Time) []any {
	c := obj.(*corev1.PersistentVolumeClaim)
	phase, capacity, modes := string(c.Status.Phase), "", ""
	if c.DeletionTimestamp != nil {
		phase = "Terminating"
	}
	if c.Spec.VolumeName != "" {
		capacity, modes = c.Status.Capacity.Storage().String(), accessModes(c.Status.AccessModes)
	}
	class, annotated := c.Annotations[corev1.BetaStorageClassAnnotation]
	if !annotated && c.Spec.StorageClassName != nil {
		class = *c.Spec.StorageClassName
	}
	return []any{
		phase, c.Spec.VolumeName, capacity, modes, class, orUnset(c.Spec.VolumeAttributesClassName), age(obj, now),
		orUnset(c.Spec.VolumeMode),
	}
}

func orUnset[T ~string](text *T) string {
	if text == nil {
		return unset
	}
	return string(*text)
}

// accessModes shows the modes in Kubernetes' abbreviations and order.
func accessModes(modes []corev1.PersistentVolumeAccessMode) string {
	var texts []string
	for _, m := range []struct {
		mode  corev1.PersistentVolumeAccessMode
		short string
	}{
		{corev1.ReadWriteOnce, "RWO"}, {corev1.ReadOnlyMany, "ROX"}, {corev1.ReadWriteMany, "RWX"}, {corev1.ReadWriteOncePod, "RWOP"},
	} {
		if slices.Contains(modes, m.mode) {
			texts = append(texts, m.short)
		}
	}
	return strings.Join(texts, ",")
}
