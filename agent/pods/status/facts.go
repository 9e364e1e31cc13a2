package status

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Facts are what a worker knows about its pod.
type Facts struct {
	HostIP string `json:"hostIP,omitempty"`
	PodIP  string `json:"podIP,omitempty"` // empty without a sandbox
	// StartTime is when the node first saw the pod.
	StartTime time.Time `json:"startTime"`
	// SandboxReady: namespaces and network are there.
	SandboxReady bool `json:"sandboxReady,omitempty"`
	// Stopping: the pod's end has begun; it is not Ready from then on.
	Stopping bool `json:"stopping,omitempty"`
	// Final: nothing of the pod runs any more, and nothing will.
	Final bool `json:"final,omitempty"`
	// Reason and Message are for what is wrong with the pod as a whole.
	Reason  string `json:"-"`
	Message string `json:"-"`
	// Containers by name, init containers too. A container that was never begun may be missing.
	Containers map[string]*Container `json:"containers,omitempty"`
}

// Container is what is known about one container: its current attempt, and the one before.
type Container struct {
	// Attempt counts restarts; the first attempt is 0.
	Attempt int `json:"attempt"`
	// ID is the current attempt's in the shim, empty before the first.
	ID      string `json:"id,omitempty"`
	ImageID string `json:"imageID,omitempty"`
	// StopSignal asks the container to end; empty means SIGTERM.
	StopSignal string `json:"stopSignal,omitempty"`
	// Started is when the current attempt's command began; zero before.
	Started time.Time `json:"started,omitzero"`
	// Ended is how the current attempt ended, or nil.
	Ended *corev1.ContainerStateTerminated `json:"ended,omitempty"`
	// Last is how the attempt before it ended, or nil.
	Last *corev1.ContainerStateTerminated `json:"last,omitempty"`
	// Delay is the pause between the end of this attempt and the next start.
	Delay time.Duration `json:"delay,omitempty"`
	// Waiting says what the next attempt waits for; nil when it need not be told.
	Waiting *corev1.ContainerStateWaiting `json:"-"`
}

// Running tells whether the container's command runs.
func (c *Container) Running() bool { return c != nil && !c.Started.IsZero() && c.Ended == nil }

// Succeeded tells whether the current attempt has ended with exit code 0.
func (c *Container) Succeeded() bool { return c != nil && c.Ended != nil && c.Ended.ExitCode == 0 }

// Sidecar tells whether an init container is one that stays (KEP-753).
func Sidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// Restarts tells whether a container that has ended is to run again.
func Restarts(pod *corev1.Pod, c *corev1.Container, init bool, ended *corev1.ContainerStateTerminated) bool {
	policy := pod.Spec.RestartPolicy
	if c.RestartPolicy != nil {
		policy = corev1.RestartPolicy(*c.RestartPolicy)
	}
	if init && !Sidecar(c) && policy == corev1.RestartPolicyAlways {
		policy = corev1.RestartPolicyOnFailure
	}
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return ended.ExitCode != 0
	}
	return true
}

// InitDone tells whether what comes after an init container may start.
func (f *Facts) InitDone(c *corev1.Container) bool {
	fact := f.Containers[c.Name]
	if Sidecar(c) {
		return fact.Running() || fact != nil && (fact.Ended != nil || fact.Last != nil) // it has started once
	}
	return fact.Succeeded()
}

// Initialized tells whether all init containers are done.
func (f *Facts) Initialized(pod *corev1.Pod) bool {
	for i := range pod.Spec.InitContainers {
		if !f.InitDone(&pod.Spec.InitContainers[i]) {
			return false
		}
	}
	return true
}

// Complete tells whether the pod's own work is over: every container has ended for good, or an init container has
// failed for good. Sidecars may still run.
func (f *Facts) Complete(pod *corev1.Pod) bool {
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if fact := f.Containers[c.Name]; fact != nil && fact.Ended != nil && fact.Ended.ExitCode != 0 &&
			!Restarts(pod, c, true, fact.Ended) {
			return true
		}
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		fact := f.Containers[c.Name]
		if fact == nil || fact.Ended == nil || Restarts(pod, c, false, fact.Ended) {
			return false
		}
	}
	return true
}
