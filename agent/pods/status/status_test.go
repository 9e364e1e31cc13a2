package status_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/agent/pods/status"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 5, time.UTC)

func running() *status.Container { return &status.Container{ID: "x-0", Started: noon} }

func ended(code int32) *status.Container {
	return &status.Container{ID: "x-0", Started: noon, Ended: &corev1.ContainerStateTerminated{ExitCode: code}}
}

func restarting() *status.Container {
	return &status.Container{ID: "x-1", Attempt: 1, Last: &corev1.ContainerStateTerminated{ExitCode: 1}}
}

// pod with the containers a and b, and init containers i and (a sidecar) s if asked for.
func pod(policy corev1.RestartPolicy, inits ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "u", Generation: 3}, Spec: corev1.PodSpec{
		RestartPolicy: policy, Containers: []corev1.Container{{Name: "a"}, {Name: "b"}}}}
	for _, name := range inits {
		c := corev1.Container{Name: name}
		if name == "s" {
			always := corev1.ContainerRestartPolicyAlways
			c.RestartPolicy = &always
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	return p
}

func TestPhaseAndReadiness(t *testing.T) {
	const always, onFailure, never = corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever
	type facts = map[string]*status.Container
	for _, c := range []struct {
		name            string
		pod             *corev1.Pod
		facts           facts
		stopping, final bool
		phase           corev1.PodPhase
		ready, initDone bool
		complete        bool
	}{
		{name: "new", pod: pod(always), phase: corev1.PodPending, initDone: true},
		{name: "one runs", pod: pod(always), facts: facts{"a": running()}, phase: corev1.PodPending, initDone: true},
		{name: "all run", pod: pod(always), facts: facts{"a": running(), "b": running()}, phase: corev1.PodRunning, ready: true, initDone: true},
		{name: "stopping", pod: pod(always), facts: facts{"a": running(), "b": running()}, stopping: true, phase: corev1.PodRunning, initDone: true},
		{name: "restarting", pod: pod(always), facts: facts{"a": running(), "b": restarting()}, phase: corev1.PodRunning, initDone: true},
		{name: "always, ended", pod: pod(always), facts: facts{"a": ended(0), "b": ended(1)}, phase: corev1.PodRunning, initDone: true},
		{name: "on failure, failed", pod: pod(onFailure), facts: facts{"a": ended(0), "b": ended(1)}, phase: corev1.PodRunning, initDone: true},
		{name: "on failure, done", pod: pod(onFailure), facts: facts{"a": ended(0), "b": ended(0)}, phase: corev1.PodRunning, initDone: true, complete: true},
		{name: "succeeded", pod: pod(never), facts: facts{"a": ended(0), "b": ended(0)}, final: true, phase: corev1.PodSucceeded, initDone: true, complete: true},
		{name: "failed", pod: pod(never), facts: facts{"a": ended(0), "b": ended(2)}, final: true, phase: corev1.PodFailed, initDone: true, complete: true},
		{name: "never began", pod: pod(never), final: true, phase: corev1.PodFailed, initDone: true},
		{name: "init runs", pod: pod(always, "i"), facts: facts{"i": running()}, phase: corev1.PodPending},
		{name: "init done", pod: pod(always, "i"), facts: facts{"i": ended(0)}, phase: corev1.PodPending, initDone: true},
		{name: "init failed", pod: pod(never, "i"), facts: facts{"i": ended(1)}, phase: corev1.PodPending, complete: true},
		{name: "init failed, again", pod: pod(always, "i"), facts: facts{"i": ended(1)}, phase: corev1.PodPending},
		{name: "sidecar", pod: pod(always, "s"), facts: facts{"s": running(), "a": running(), "b": running()}, phase: corev1.PodRunning, ready: true, initDone: true},
		{name: "sidecar ended", pod: pod(always, "s"), facts: facts{"s": ended(1), "a": running(), "b": running()}, phase: corev1.PodRunning, initDone: true},
	} {
		f := &status.Facts{Containers: c.facts, Stopping: c.stopping || c.final, Final: c.final, StartTime: noon}
		got := status.Of(c.pod, f)
		want := map[corev1.PodConditionType]bool{corev1.PodReady: c.ready, corev1.ContainersReady: c.ready, corev1.PodInitialized: c.initDone}
		for _, cond := range got.Conditions {
			if ok, checked := want[cond.Type]; checked && (cond.Status == corev1.ConditionTrue) != ok {
				t.Errorf("%s: condition %+v", c.name, cond)
			}
		}
		if got.Phase != c.phase || f.Complete(c.pod) != c.complete || got.ObservedGeneration != 3 {
			t.Errorf("%s: phase %s, complete %v", c.name, got.Phase, f.Complete(c.pod))
		}
	}
}

func TestReadinessGates(t *testing.T) {
	p := pod(corev1.RestartPolicyAlways)
	p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/lb"}}
	f := &status.Facts{Containers: map[string]*status.Container{"a": running(), "b": running()}}
	ready := func() corev1.ConditionStatus { return status.Of(p, f).Conditions[2].Status }
	if ready() != corev1.ConditionFalse {
		t.Error("ready without its gate")
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: "example.com/lb", Status: corev1.ConditionTrue}}
	if ready() != corev1.ConditionTrue {
		t.Error("not ready with its gate")
	}
}

func TestContainerStates(t *testing.T) {
	backoff := ended(1)
	backoff.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
	f := &status.Facts{Containers: map[string]*status.Container{"a": backoff, "b": restarting()}}
	got := status.Of(pod(corev1.RestartPolicyAlways), f).ContainerStatuses
	no := false
	last := func(code int32) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}
	}
	want := []corev1.ContainerStatus{
		{Name: "a", State: corev1.ContainerState{Waiting: backoff.Waiting}, LastTerminationState: last(1), ContainerID: "holt://u.x-0", Started: &no},
		{Name: "b", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}},
			LastTerminationState: last(1), RestartCount: 1, Started: &no},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	f.Final = true
	if s := status.Of(pod(corev1.RestartPolicyAlways), f).ContainerStatuses[0]; s.State.Terminated == nil {
		t.Errorf("at the end: %+v", s)
	}
}

func TestMerge(t *testing.T) {
	f := &status.Facts{Containers: map[string]*status.Container{"a": running(), "b": running()}, StartTime: noon, PodIP: "10.0.0.1", HostIP: "192.0.2.1"}
	p := pod(corev1.RestartPolicyAlways)
	theirs := corev1.PodCondition{Type: "example.com/theirs", Status: corev1.ConditionTrue}
	have := corev1.PodStatus{Phase: corev1.PodPending, QOSClass: corev1.PodQOSBurstable, Conditions: []corev1.PodCondition{theirs}}
	first := status.Merge(have, status.Of(p, f), noon)
	if first.QOSClass != corev1.PodQOSBurstable || first.Phase != corev1.PodRunning || !apiequality.Semantic.DeepEqual(first.Conditions[0], theirs) {
		t.Errorf("first %+v", first)
	}
	again := status.Merge(first, status.Of(p, f), noon.Add(time.Hour))
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("nothing has changed, but the status has: %s", diff)
	}
	f.Stopping = true
	later := status.Merge(first, status.Of(p, f), noon.Add(time.Hour))
	for _, c := range later.Conditions {
		changed := c.Type == corev1.PodReady || c.Type == corev1.ContainersReady
		if moved := c.LastTransitionTime.Hour() == 13; moved != changed {
			t.Errorf("condition %+v", c)
		}
	}
	evicted := first
	evicted.Phase, evicted.Reason = corev1.PodFailed, "Evicted"
	if got := status.Merge(evicted, status.Of(p, f), noon); got.Phase != corev1.PodFailed || got.Reason != "Evicted" {
		t.Errorf("an end was undone: %s %s", got.Phase, got.Reason)
	}
}
