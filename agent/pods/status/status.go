package status

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// IDPrefix begins a container's ID in the API; the pod's UID and the ID in its shim follow, joined by a dot.
const IDPrefix = "holt://"

// Time is t as the wire has it: in UTC and whole seconds.
func Time(t time.Time) metav1.Time { return metav1.NewTime(t.UTC().Truncate(time.Second)) }

// Of is the pod's status, without the times of its conditions, which Merge fills in.
func Of(pod *corev1.Pod, f *Facts) corev1.PodStatus {
	out := corev1.PodStatus{
		ObservedGeneration: pod.Generation,
		Phase:              phase(pod, f),
		Reason:             f.Reason,
		Message:            f.Message,
		HostIP:             f.HostIP,
		PodIP:              f.PodIP,
	}
	if f.HostIP != "" {
		out.HostIPs = []corev1.HostIP{{IP: f.HostIP}}
	}
	if f.PodIP != "" {
		out.PodIPs = []corev1.PodIP{{IP: f.PodIP}}
	}
	if !f.StartTime.IsZero() {
		start := Time(f.StartTime)
		out.StartTime = &start
	}
	for i := range pod.Spec.InitContainers {
		out.InitContainerStatuses = append(out.InitContainerStatuses, container(pod, &pod.Spec.InitContainers[i], f, true))
	}
	for i := range pod.Spec.Containers {
		out.ContainerStatuses = append(out.ContainerStatuses, container(pod, &pod.Spec.Containers[i], f, false))
	}
	out.Conditions = conditions(pod, f, &out)
	return out
}

// phase follows the pod's life cycle in Kubernetes' documentation; the ends come only when all is stopped.
func phase(pod *corev1.Pod, f *Facts) corev1.PodPhase {
	if f.Final {
		for i := range pod.Spec.Containers {
			if !f.Containers[pod.Spec.Containers[i].Name].Succeeded() {
				return corev1.PodFailed
			}
		}
		return corev1.PodSucceeded
	}
	if !f.Initialized(pod) {
		return corev1.PodPending
	}
	for i := range pod.Spec.Containers {
		c := f.Containers[pod.Spec.Containers[i].Name]
		if c == nil || c.Started.IsZero() && c.Ended == nil && c.Last == nil {
			return corev1.PodPending // never ran
		}
	}
	return corev1.PodRunning
}

func container(pod *corev1.Pod, c *corev1.Container, f *Facts, init bool) corev1.ContainerStatus {
	fact := f.Containers[c.Name]
	if fact == nil {
		fact = &Container{}
	}
	out := corev1.ContainerStatus{
		Name: c.Name, Image: c.Image, ImageID: fact.ImageID, RestartCount: int32(fact.Attempt),
		Started: new(bool),
	}
	last := fact.Last
	switch {
	case fact.Running():
		out.State.Running = &corev1.ContainerStateRunning{StartedAt: Time(fact.Started)}
		*out.Started = true
		out.Ready = !init || Sidecar(c)
	case fact.Waiting != nil && !f.Final:
		out.State.Waiting = fact.Waiting.DeepCopy()
		if fact.Ended != nil {
			last = fact.Ended
		}
	case fact.Ended != nil:
		out.State.Terminated = fact.Ended.DeepCopy()
		out.Ready = init && fact.Ended.ExitCode == 0
	default:
		out.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
		if !init && len(pod.Spec.InitContainers) > 0 && !f.Initialized(pod) || init && fact.ID == "" && !first(pod, c) {
			out.State.Waiting.Reason = "PodInitializing"
		}
	}
	if last != nil {
		out.LastTerminationState.Terminated = last.DeepCopy()
	}
	if fact.ID != "" && (fact.Ended != nil || !fact.Started.IsZero()) {
		out.ContainerID = ContainerID(pod, fact.ID)
	}
	return out
}

// ContainerID is how the API names one attempt of a container.
func ContainerID(pod *corev1.Pod, id string) string { return IDPrefix + string(pod.UID) + "." + id }

func first(pod *corev1.Pod, c *corev1.Container) bool {
	return pod.Spec.InitContainers[0].Name == c.Name
}

func conditions(pod *corev1.Pod, f *Facts, status *corev1.PodStatus) []corev1.PodCondition {
	cond := func(kind corev1.PodConditionType, ok bool, reason, message string) corev1.PodCondition {
		out := corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, ObservedGeneration: pod.Generation}
		if !ok {
			out.Status, out.Reason, out.Message = corev1.ConditionFalse, reason, message
		}
		return out
	}
	containersReady := cond(corev1.ContainersReady, false, "", "")
	containersReady.Reason, containersReady.Message = unready(f, status)
	if containersReady.Reason == "" {
		containersReady = cond(corev1.ContainersReady, true, "", "")
	}
	ready := containersReady
	ready.Type = corev1.PodReady
	if missing := gates(pod); missing != "" && ready.Status == corev1.ConditionTrue {
		ready = cond(corev1.PodReady, false, "ReadinessGatesNotReady", missing)
	}
	initialized := cond(corev1.PodInitialized, f.Initialized(pod), "ContainersNotInitialized",
		names("containers with incomplete status", status.InitContainerStatuses))
	if status.Phase == corev1.PodSucceeded {
		initialized.Reason = "PodCompleted"
	}
	return []corev1.PodCondition{
		cond(corev1.PodReadyToStartContainers, f.SandboxReady, "", ""), initialized, ready, containersReady,
	}
}

// unready says why the containers are not ready, or nothing.
func unready(f *Facts, status *corev1.PodStatus) (reason, message string) {
	switch {
	case status.Phase == corev1.PodSucceeded:
		return "PodCompleted", ""
	case status.Phase == corev1.PodFailed:
		return "PodFailed", ""
	case f.Stopping:
		return "PodTerminating", "the pod is being stopped"
	}
	for _, list := range [][]corev1.ContainerStatus{status.InitContainerStatuses, status.ContainerStatuses} {
		for i := range list {
			if !list[i].Ready {
				return "ContainersNotReady", names("containers with unready status", status.ContainerStatuses)
			}
		}
	}
	return "", ""
}

func names(what string, list []corev1.ContainerStatus) string {
	var unready []string
	for i := range list {
		if !list[i].Ready {
			unready = append(unready, list[i].Name)
		}
	}
	return fmt.Sprintf("%s: [%s]", what, strings.Join(unready, " "))
}

// gates names the readiness gates that are not true.
func gates(pod *corev1.Pod) string {
	var missing []string
	for _, gate := range pod.Spec.ReadinessGates {
		if find(pod.Status.Conditions, gate.ConditionType).Status != corev1.ConditionTrue {
			missing = append(missing, fmt.Sprintf("the status of pod readiness gate %q is not \"True\"", gate.ConditionType))
		}
	}
	return strings.Join(missing, ", ")
}
