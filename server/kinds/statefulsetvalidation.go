package kinds

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

func validateStatefulSet(obj fsm.Value) field.ErrorList {
	spec, path := &obj.(*appsv1.StatefulSet).Spec, field.NewPath("spec")
	var errs field.ErrorList
	switch spec.PodManagementPolicy {
	case appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement:
	default:
		errs = append(errs, field.Invalid(path.Child("podManagementPolicy"), spec.PodManagementPolicy,
			fmt.Sprintf("must be '%s' or '%s'", appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement)))
	}
	errs = append(errs, validateSetStrategy(&spec.UpdateStrategy, path.Child("updateStrategy"))...)
	if policy, at := spec.PersistentVolumeClaimRetentionPolicy, path.Child("persistentVolumeClaimRetentionPolicy"); policy != nil {
		errs = append(errs, validateRetention(policy.WhenDeleted, at.Child("whenDeleted"))...)
		errs = append(errs, validateRetention(policy.WhenScaled, at.Child("whenScaled"))...)
	}
	for i := range spec.VolumeClaimTemplates {
		errs = append(errs, podspec.ValidateClaim(&spec.VolumeClaimTemplates[i].Spec,
			path.Child("volumeClaimTemplates").Index(i).Child("spec"))...)
	}
	errs = append(errs, nonNegative(count{path.Child("replicas"), valueOf(spec.Replicas)},
		count{path.Child("minReadySeconds"), spec.MinReadySeconds})...)
	if spec.Ordinals != nil {
		errs = append(errs, nonNegative(count{path.Child("ordinals.start"), spec.Ordinals.Start})...)
	}
	if spec.ServiceName != "" {
		errs = append(errs, invalid(path.Child("serviceName"), spec.ServiceName, validation.IsDNS1123Label(spec.ServiceName))...)
	}
	errs = append(errs, validateSelector(spec.Selector, spec.Template.Labels, "statefulset", path)...)
	return append(errs, podspec.ValidateLasting(identified(spec), "StatefulSet", path.Child("template"))...)
}

func validateRetention(policy appsv1.PersistentVolumeClaimRetentionPolicyType, path *field.Path) field.ErrorList {
	return oneOf(path, policy, appsv1.DeletePersistentVolumeClaimRetentionPolicyType, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
}

func validateSetStrategy(s *appsv1.StatefulSetUpdateStrategy, path *field.Path) field.ErrorList {
	rolling := path.Child("rollingUpdate")
	switch s.Type {
	case appsv1.OnDeleteStatefulSetStrategyType:
		if s.RollingUpdate == nil {
			return nil
		}
		return field.ErrorList{field.Invalid(rolling, s.RollingUpdate,
			fmt.Sprintf("only allowed for updateStrategy '%s'", appsv1.RollingUpdateStatefulSetStrategyType))}
	case appsv1.RollingUpdateStatefulSetStrategyType:
		if s.RollingUpdate == nil {
			return nil
		}
		errs := nonNegative(count{rolling.Child("partition"), valueOf(s.RollingUpdate.Partition)})
		return append(errs, validateUnavailable(s.RollingUpdate.MaxUnavailable, rolling.Child("maxUnavailable"))...)
	}
	return field.ErrorList{field.Invalid(path, s, fmt.Sprintf("must be '%s' or '%s'",
		appsv1.RollingUpdateStatefulSetStrategyType, appsv1.OnDeleteStatefulSetStrategyType))}
}

func validateUnavailable(value *intstr.IntOrString, path *field.Path) field.ErrorList {
	if value == nil {
		return nil
	}
	errs := validateShare(value, path)
	if share(value) == 0 {
		errs = append(errs, field.Invalid(path, *value, "cannot be 0"))
	}
	return append(errs, validateWhole(value, path)...)
}

// identified is the template of a set's pods without what each pod gets of its own, and with the volumes of its claims.
func identified(spec *appsv1.StatefulSetSpec) *corev1.PodTemplateSpec {
	template := spec.Template.DeepCopy()
	template.Spec.Hostname, template.Spec.Subdomain = "", ""
	claimed := map[string]bool{}
	var volumes []corev1.Volume
	for i := range spec.VolumeClaimTemplates {
		name := spec.VolumeClaimTemplates[i].Name
		if claimed[name] {
			continue
		}
		claimed[name] = true
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
		}})
	}
	for _, v := range template.Spec.Volumes {
		if !claimed[v.Name] {
			volumes = append(volumes, v)
		}
	}
	template.Spec.Volumes = volumes
	return template
}

func validateStatefulSetUpdate(obj, before fsm.Value) field.ErrorList {
	spec, old, path := &obj.(*appsv1.StatefulSet).Spec, &before.(*appsv1.StatefulSet).Spec, field.NewPath("spec")
	errs := apivalidation.ValidateImmutableField(spec.Selector, old.Selector, path.Child("selector"))
	errs = append(errs, apivalidation.ValidateImmutableField(spec.VolumeClaimTemplates, old.VolumeClaimTemplates, path.Child("volumeClaimTemplates"))...)
	errs = append(errs, apivalidation.ValidateImmutableField(spec.ServiceName, old.ServiceName, path.Child("serviceName"))...)
	return append(errs, apivalidation.ValidateImmutableField(spec.PodManagementPolicy, old.PodManagementPolicy, path.Child("podManagementPolicy"))...)
}

func takeStatefulSetStatus(set, body *appsv1.StatefulSet) field.ErrorList {
	collisions := valueOf(set.Status.CollisionCount)
	set.Status = body.Status
	s, path := &set.Status, field.NewPath("status")
	errs := nonNegative(
		count{path.Child("replicas"), s.Replicas}, count{path.Child("readyReplicas"), s.ReadyReplicas},
		count{path.Child("currentReplicas"), s.CurrentReplicas}, count{path.Child("updatedReplicas"), s.UpdatedReplicas},
		count{path.Child("availableReplicas"), s.AvailableReplicas},
	)
	errs = append(errs, apivalidation.ValidateNonnegativeField(s.ObservedGeneration, path.Child("observedGeneration"))...)
	errs = append(errs, atMost(s.Replicas, "cannot be greater than status.replicas",
		count{path.Child("readyReplicas"), s.ReadyReplicas}, count{path.Child("currentReplicas"), s.CurrentReplicas},
		count{path.Child("updatedReplicas"), s.UpdatedReplicas}, count{path.Child("availableReplicas"), s.AvailableReplicas})...)
	errs = append(errs, atMost(s.ReadyReplicas, "cannot be greater than status.readyReplicas",
		count{path.Child("availableReplicas"), s.AvailableReplicas})...)
	return append(errs, validateCollisions(s.CollisionCount, collisions, path.Child("collisionCount"))...)
}

// validateCollisions lets the count of names that were taken only grow: revisions are named with it.
func validateCollisions(now *int32, before int32, path *field.Path) field.ErrorList {
	errs := nonNegative(count{path, valueOf(now)})
	if valueOf(now) < before {
		errs = append(errs, field.Invalid(path, valueOf(now), "cannot be decremented"))
	}
	return errs
}
