package oci

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"
)

const (
	cpuPeriod = 100_000 // microseconds, the kernel's default
	minQuota  = 1_000   // the least that the kernel takes
	minShares = 2
	maxShares = 262_144
	maxPids   = 16_384 // keeps a fork bomb from taking the node's process numbers
)

// resources turns requests and limits into cgroup settings. A container without a CPU request weighs least.
func resources(c *corev1.Container) *specs.LinuxResources {
	shares := uint64(minShares)
	request, ok := c.Resources.Requests[corev1.ResourceCPU]
	limit, limited := c.Resources.Limits[corev1.ResourceCPU]
	if !ok {
		request, ok = limit, limited
	}
	if ok {
		shares = uint64(min(max(request.MilliValue()*1024/1000, minShares), maxShares))
	}
	pids := int64(maxPids)
	out := &specs.LinuxResources{
		CPU:  &specs.LinuxCPU{Shares: &shares},
		Pids: &specs.LinuxPids{Limit: &pids},
	}
	if limited && !limit.IsZero() {
		period := uint64(cpuPeriod)
		quota := max(limit.MilliValue()*cpuPeriod/1000, minQuota)
		out.CPU.Period, out.CPU.Quota = &period, &quota
	}
	if memory, ok := c.Resources.Limits[corev1.ResourceMemory]; ok && !memory.IsZero() {
		bytes := memory.Value()
		out.Memory = &specs.LinuxMemory{Limit: &bytes}
	}
	return out
}

// oomScore says whom the kernel kills first when the node has no memory left, as the kubelet sets it: what asked
// for nothing first, what has its limits guaranteed last; never less than floor.
func oomScore(pod *corev1.Pod, c *corev1.Container, capacity corev1.ResourceList, floor int) int {
	switch QOS(pod) {
	case corev1.PodQOSGuaranteed:
		return max(-997, floor)
	case corev1.PodQOSBestEffort:
		return 1000
	}
	total := capacity.Memory().Value()
	if total <= 0 {
		return 999
	}
	return max(int(min(max(1000-1000*c.Resources.Requests.Memory().Value()/total, 3), 999)), floor)
}

// QOS is the pod's class: what the API says, or what follows from its resources.
func QOS(pod *corev1.Pod) corev1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	guaranteed, none := true, true
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
				request, requested := list[i].Resources.Requests[name]
				limit, limited := list[i].Resources.Limits[name]
				none = none && !requested && !limited
				guaranteed = guaranteed && limited && (!requested || request.Cmp(limit) == 0)
			}
		}
	}
	switch {
	case none:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}
