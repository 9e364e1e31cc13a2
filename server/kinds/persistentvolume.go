package kinds

import (
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

func persistentVolume() *Kind {
	gvk := corev1.SchemeGroupVersion.WithKind("PersistentVolume")
	newBody := func() fsm.Value { return &corev1.PersistentVolume{} }
	spec, status := corev1.PersistentVolumeSpec{}.SwaggerDoc(), corev1.PersistentVolumeStatus{}.SwaggerDoc()
	return &Kind{
		GVK:      gvk,
		Resource: "persistentvolumes", Singular: "persistentvolume", ShortNames: []string{"pv"},
		New:     newBody,
		NewList: func() runtime.Object { return &corev1.PersistentVolumeList{} },
		Default: defaultPersistentVolume,
		Prepare: specified[*corev1.PersistentVolume]{
			start: func(v *corev1.PersistentVolume) {
				born := v.CreationTimestamp
				v.Status = corev1.PersistentVolumeStatus{Phase: corev1.VolumePending, LastPhaseTransitionTime: &born}
			},
			keep: func(v, old *corev1.PersistentVolume) { v.Status = old.Status },
		}.prepare,
		Validate:       validatePersistentVolume,
		ValidateUpdate: validatePersistentVolumeUpdate,
		Subresources: map[string]Subresource{
			"status": statusOf(gvk, newBody, func(v, body *corev1.PersistentVolume) field.ErrorList {
				since, phase := v.Status.LastPhaseTransitionTime, v.Status.Phase
				v.Status = body.Status
				setDefault(&v.Status.Phase, corev1.VolumePending)
				if v.Status.LastPhaseTransitionTime == nil && v.Status.Phase == phase {
					v.Status.LastPhaseTransitionTime = since
				}
				return nil
			}),
		},
		Columns: []metav1.TableColumnDefinition{
			column("Capacity", "string", spec["capacity"]),
			column("Access Modes", "string", spec["accessModes"]),
			column("Reclaim Policy", "string", spec["persistentVolumeReclaimPolicy"]),
			column("Status", "string", status["phase"]),
			column("Claim", "string", spec["claimRef"]),
			column("StorageClass", "string", "StorageClass of the pv"),
			column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pv"),
			column("Reason", "string", status["reason"]),
			ageColumn(),
			wide("VolumeMode", "string", spec["volumeMode"]),
		},
		Cells: persistentVolumeCells,
	}
}

func defaultPersistentVolume(obj fsm.Value) {
	v := obj.(*corev1.PersistentVolume)
	setDefault(&v.Status.Phase, corev1.VolumePending)
	setDefault(&v.Spec.PersistentVolumeReclaimPolicy, corev1.PersistentVolumeReclaimRetain)
	setPointer(&v.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	podspec.RoundUp(v.Spec.Capacity)
	if v.Spec.HostPath != nil {
		setPointer(&v.Spec.HostPath.Type, corev1.HostPathUnset)
	}
	if v.Spec.ISCSI != nil {
		setDefault(&v.Spec.ISCSI.ISCSIInterface, "default")
	}
	if rbd := v.Spec.RBD; rbd != nil {
		setDefault(&rbd.RBDPool, "rbd")
		setDefault(&rbd.RadosUser, "admin")
		setDefault(&rbd.Keyring, "/etc/ceph/keyring")
	}
	if s := v.Spec.ScaleIO; s != nil {
		setDefault(&s.StorageMode, "ThinProvisioned")
		setDefault(&s.FSType, "xfs")
	}
	if disk := v.Spec.AzureDisk; disk != nil {
		setPointer(&disk.CachingMode, corev1.AzureDataDiskCachingReadWrite)
		setPointer(&disk.Kind, corev1.AzureSharedBlobDisk)
		setPointer(&disk.FSType, "ext4")
		setPointer(&disk.ReadOnly, false)
	}
}

func validatePersistentVolumeUpdate(obj, before fsm.Value) field.ErrorList {
	v, old := obj.(*corev1.PersistentVolume), before.(*corev1.PersistentVolume)
	var errs field.ErrorList
	source := v.Spec.PersistentVolumeSource
	if had, has := old.Spec.CSI, source.CSI; had != nil && has != nil && had.ControllerExpandSecretRef == nil {
		driver := *has // that secret may be added later
		driver.ControllerExpandSecretRef = nil
		source.CSI = &driver
	}
	if !equality.Semantic.DeepEqual(source, old.Spec.PersistentVolumeSource) {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "persistentvolumesource"),
			"spec.persistentvolumesource is immutable after creation"))
	}
	errs = append(errs, apivalidation.ValidateImmutableField(v.Spec.VolumeMode, old.Spec.VolumeMode, field.NewPath("volumeMode"))...)
	if old.Spec.NodeAffinity != nil {
		errs = append(errs, apivalidation.ValidateImmutableField(v.Spec.NodeAffinity, old.Spec.NodeAffinity, field.NewPath("nodeAffinity"))...)
	}
	if old.Spec.VolumeAttributesClassName != nil && v.Spec.VolumeAttributesClassName == nil {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "volumeAttributesClassName"),
			"update from non-nil value to nil is forbidden"))
	}
	return errs
}

func persistentVolumeCells(obj fsm.Value, now time.Time) []any {
	v := obj.(*corev1.PersistentVolume)
	claim, phase := "", string(v.Status.Phase)
	if ref := v.Spec.ClaimRef; ref != nil {
		claim = ref.Namespace + "/" + ref.Name
	}
	if v.DeletionTimestamp != nil {
		phase = "Terminating"
	}
	class, annotated := v.Annotations[corev1.BetaStorageClassAnnotation]
	if !annotated {
		class = v.Spec.StorageClassName
	}
	return []any{
		v.Spec.Capacity.Storage().String(), accessModes(v.Spec.AccessModes), string(v.Spec.PersistentVolumeReclaimPolicy),
		phase, claim, class, orUnset(v.Spec.VolumeAttributesClassName), v.Status.Reason, age(obj, now),
		orUnset(v.Spec.VolumeMode),
	}
}
