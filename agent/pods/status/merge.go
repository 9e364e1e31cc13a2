package status

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Merge lays the node's view over the status that the API has. Conditions of other writers stay; a condition whose
// status has not changed keeps its time of transition. An end that the API has already (such as an eviction)
// stays, with its reason.
func Merge(have, want corev1.PodStatus, now time.Time) corev1.PodStatus {
	out := *have.DeepCopy()
	if have.Phase != corev1.PodSucceeded && have.Phase != corev1.PodFailed {
		out.Phase, out.Reason, out.Message = want.Phase, want.Reason, want.Message
	}
	out.ObservedGeneration = want.ObservedGeneration
	out.HostIP, out.HostIPs = want.HostIP, want.HostIPs
	out.PodIP, out.PodIPs = want.PodIP, want.PodIPs
	if have.StartTime == nil {
		out.StartTime = want.StartTime
	}
	out.InitContainerStatuses, out.ContainerStatuses = want.InitContainerStatuses, want.ContainerStatuses
	for _, c := range want.Conditions {
		old := find(have.Conditions, c.Type)
		c.LastProbeTime, c.LastTransitionTime = old.LastProbeTime, old.LastTransitionTime
		if old.Status != c.Status || old.LastTransitionTime.IsZero() {
			c.LastTransitionTime = Time(now)
		}
		put(&out.Conditions, c)
	}
	return out
}

// find gives a condition, or an empty one.
func find(list []corev1.PodCondition, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range list {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

func put(list *[]corev1.PodCondition, c corev1.PodCondition) {
	for i := range *list {
		if (*list)[i].Type == c.Type {
			(*list)[i] = c
			return
		}
	}
	*list = append(*list, c)
}
