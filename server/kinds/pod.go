package kinds

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

// ByNode is the index of pods by the name of the node that they are bound to; the empty name finds those that wait for
// one.
const ByNode = "node"

func pod() *Kind {
	gvk := corev1.SchemeGroupVersion.WithKind("Pod")
	newBody := func() fsm.Value { return &corev1.Pod{} }
	return &Kind{
		GVK:      gvk,
		Resource: "pods", Singular: "pod", ShortNames: []string{"po"}, Categories: []string{"all"},
		Namespaced: true,
		New:        newBody,
		NewList:    func() runtime.Object { return &corev1.PodList{} },
		Default:    func(obj fsm.Value) { podspec.DefaultPod(&obj.(*corev1.Pod).Spec) },
		Prepare: specified[*corev1.Pod]{
			spec:  func(p *corev1.Pod) any { return &p.Spec },
			start: startPod,
			keep:  func(p, old *corev1.Pod) { p.Status = old.Status },
		}.prepare,
		Validate: validatePod,
		ValidateUpdate: func(obj, old fsm.Value) field.ErrorList {
			return podspec.ValidateUpdate(&obj.(*corev1.Pod).Spec, &old.(*corev1.Pod).Spec, field.NewPath("spec"))
		},
		GracePeriod: podGrace,
		Subresources: map[string]Subresource{
			"status":  statusOf(gvk, newBody, takePodStatus),
			"binding": binding(),
			"log": {
				GVK: gvk, New: func() runtime.Object { return newBody() }, Connect: true,
				Options: func() runtime.Object { return &corev1.PodLogOptions{} },
			},
		},
		Fields: podFields,
		Indexes: map[string]fsm.IndexFunc{ByNode: func(obj fsm.Value) []string {
			return []string{obj.(*corev1.Pod).Spec.NodeName}
		}},
		Columns: podColumns(),
		Cells:   podCells,
	}
}

func startPod(p *corev1.Pod) {
	p.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: podspec.QOS(&p.Spec)}
}

func validatePod(obj fsm.Value) field.ErrorList {
	p, path := obj.(*corev1.Pod), field.NewPath("spec")
	errs := podspec.Validate(&p.Spec, path)
	if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; mirror && p.Spec.NodeName == "" {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "annotations").Key(corev1.MirrorPodAnnotationKey),
			"must set spec.nodeName if mirror pod annotation is set"))
	}
	return errs
}

// podGrace is zero for a pod that no node runs, or that has ended: there is nothing to wait for.
func podGrace(obj fsm.Value) int64 {
	p := obj.(*corev1.Pod)
	if p.Spec.NodeName == "" || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return 0
	}
	if p.Spec.TerminationGracePeriodSeconds == nil {
		return corev1.DefaultTerminationGracePeriodSeconds
	}
	if seconds := *p.Spec.TerminationGracePeriodSeconds; seconds >= 0 {
		return seconds
	}
	return 1
}

// takePodStatus keeps the quality of service, which follows from the specification alone.
func takePodStatus(p, body *corev1.Pod) field.ErrorList {
	path := field.NewPath("status")
	errs := oneOf(path.Child("phase"), body.Status.Phase, corev1.PodPending, corev1.PodRunning,
		corev1.PodSucceeded, corev1.PodFailed, corev1.PodUnknown, "")
	for i, before := range p.Status.ContainerStatuses {
		errs = append(errs, validateRestart(before, body.Status.ContainerStatuses, p.Spec.RestartPolicy,
			path.Child("containerStatuses").Index(i))...)
	}
	class := p.Status.QOSClass
	p.Status = body.Status
	setDefault(&class, podspec.QOS(&p.Spec))
	p.Status.QOSClass = class
	setDefault(&p.Status.Phase, corev1.PodPending)
	return errs
}

// validateRestart keeps what has ended for good ended.
func validateRestart(before corev1.ContainerStatus, now []corev1.ContainerStatus, policy corev1.RestartPolicy, path *field.Path) field.ErrorList {
	final := before.State.Terminated
	if final == nil || policy == corev1.RestartPolicyAlways || policy == corev1.RestartPolicyOnFailure && final.ExitCode != 0 {
		return nil
	}
	for _, status := range now {
		if status.Name == before.Name && status.State.Terminated == nil {
			return field.ErrorList{field.Forbidden(path.Child("state"), "may not be transitioned to non-terminated state")}
		}
	}
	return nil
}

func podFields(obj fsm.Value) fields.Set {
	p := obj.(*corev1.Pod)
	return fields.Set{
		"spec.nodeName":            p.Spec.NodeName,
		"spec.restartPolicy":       string(p.Spec.RestartPolicy),
		"spec.schedulerName":       p.Spec.SchedulerName,
		"spec.serviceAccountName":  p.Spec.ServiceAccountName,
		"spec.hostNetwork":         strconv.FormatBool(p.Spec.HostNetwork),
		"status.phase":             string(p.Status.Phase),
		"status.podIP":             p.Status.PodIP,
		"status.nominatedNodeName": p.Status.NominatedNodeName,
	}
}
