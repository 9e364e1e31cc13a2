package kinds

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

func statefulSet() *Kind {
	gvk := appsv1.SchemeGroupVersion.WithKind("StatefulSet")
	newBody := func() fsm.Value { return &appsv1.StatefulSet{} }
	return &Kind{
		GVK:      gvk,
		Resource: "statefulsets", Singular: "statefulset", ShortNames: []string{"sts"}, Categories: []string{"all"},
		Namespaced: true,
		New:        newBody,
		NewList:    func() runtime.Object { return &appsv1.StatefulSetList{} },
		Default:    defaultStatefulSet,
		Restore:    typeClaims,
		Prepare: specified[*appsv1.StatefulSet]{
			spec:  func(s *appsv1.StatefulSet) any { return &s.Spec },
			start: func(s *appsv1.StatefulSet) { s.Status = appsv1.StatefulSetStatus{} },
			keep:  func(s, old *appsv1.StatefulSet) { s.Status = old.Status },
		}.prepare,
		Validate:       validateStatefulSet,
		ValidateUpdate: validateStatefulSetUpdate,
		ValidateName:   apivalidation.NameIsDNSLabel,
		Subresources: map[string]Subresource{
			"status": statusOf(gvk, newBody, takeStatefulSetStatus),
			"scale": scaleOf(func(obj fsm.Value) scalable {
				s := obj.(*appsv1.StatefulSet)
				return scalable{replicas: &s.Spec.Replicas, current: s.Status.Replicas, selector: s.Spec.Selector}
			}),
		},
		Columns: []metav1.TableColumnDefinition{
			column("Ready", "string", "Number of the pod with ready state"),
			ageColumn(),
			wide("Containers", "string", "Names of each container in the template."),
			wide("Images", "string", "Images referenced by each container in the template."),
		},
		Cells: func(obj fsm.Value, now time.Time) []any {
			s := obj.(*appsv1.StatefulSet)
			ready := fmt.Sprintf("%d/%d", s.Status.ReadyReplicas, valueOf(s.Spec.Replicas))
			return append([]any{ready, age(obj, now)}, containerCells(&s.Spec.Template.Spec)...)
		},
	}
}

func defaultStatefulSet(obj fsm.Value) {
	spec := &obj.(*appsv1.StatefulSet).Spec
	setDefault(&spec.PodManagementPolicy, appsv1.OrderedReadyPodManagement)
	if spec.UpdateStrategy.Type == "" {
		spec.UpdateStrategy.Type = appsv1.RollingUpdateStatefulSetStrategyType
		setPointer(&spec.UpdateStrategy.RollingUpdate, appsv1.RollingUpdateStatefulSetStrategy{})
	}
	if r := spec.UpdateStrategy.RollingUpdate; r != nil && spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType {
		setPointer(&r.Partition, 0)
		setPointer(&r.MaxUnavailable, intstr.FromInt32(1))
	}
	setPointer(&spec.PersistentVolumeClaimRetentionPolicy, appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{})
	setDefault(&spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	setDefault(&spec.PersistentVolumeClaimRetentionPolicy.WhenScaled, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	setPointer(&spec.Replicas, 1)
	setPointer(&spec.RevisionHistoryLimit, 10)
	podspec.Default(&spec.Template.Spec)
	for i := range spec.VolumeClaimTemplates {
		podspec.DefaultClaim(&spec.VolumeClaimTemplates[i].Spec)
		setDefault(&spec.VolumeClaimTemplates[i].Status.Phase, corev1.ClaimPending)
	}
	typeClaims(obj)
}

// typeClaims gives the templates of claims their types: users write them, protobuf does not keep them, and what was
// applied must not differ from what is there.
func typeClaims(obj fsm.Value) {
	templates := obj.(*appsv1.StatefulSet).Spec.VolumeClaimTemplates
	for i := range templates {
		templates[i].TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"}
	}
}
