package pods_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestAPodRunsToItsEnd(t *testing.T) {
	n := newNode(t)
	n.api.create(newPod("job", container("main", "say", "hello")))
	pod := n.waitPhase("job", corev1.PodSucceeded)
	if got := n.log("job", "main"); got != "hello\n" {
		t.Errorf("log %q", got)
	}
	s := pod.Status.ContainerStatuses[0]
	if s.State.Terminated == nil || s.State.Terminated.Reason != "Completed" || s.RestartCount != 0 {
		t.Errorf("status %+v", s)
	}
}
