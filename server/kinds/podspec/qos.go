package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// QOS is the quality-of-service class that follows from a pod's requests and limits of processor time and memory:
// Guaranteed when every container has limits equal to its requests for both, BestEffort when no container has any,
// Burstable otherwise.
func QOS(spec *corev1.PodSpec) corev1.PodQOSClass {
	requirements := make([]corev1.ResourceRequirements, 0, len(spec.Containers)+len(spec.InitContainers))
	if spec.Resources != nil && (counts(spec.Resources.Requests) || counts(spec.Resources.Limits)) {
		requirements = append(requirements, *spec.Resources)
	} else {
		for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
			for i := range containers {
				requirements = append(requirements, containers[i].Resources)
			}
		}
	}
	guaranteed, bestEffort := true, true
	for _, r := range requirements {
		bestEffort = bestEffort && !counts(r.Requests) && !counts(r.Limits)
		guaranteed = guaranteed && fixed(r, corev1.ResourceCPU) && fixed(r, corev1.ResourceMemory)
	}
	switch {
	case bestEffort:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

func counts(list corev1.ResourceList) bool {
	return list.Cpu().Sign() > 0 || list.Memory().Sign() > 0
}

// fixed reports a positive limit that equals the request; a request left out equals the limit.
func fixed(r corev1.ResourceRequirements, name corev1.ResourceName) bool {
	limit := r.Limits[name]
	if limit.Sign() <= 0 {
		return false
	}
	request, requested := r.Requests[name]
	return !requested || equal(request, limit)
}

func equal(a, b resource.Quantity) bool { return a.Cmp(b) == 0 }
