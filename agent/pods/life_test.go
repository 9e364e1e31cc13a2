package pods_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/agent/pods"
	"github.com/holt-project/holt/agent/shim/client"
	"github.com/holt-project/holt/agent/shim/protocol"
)

// shim is the state of a pod's shim.
func (n *node) shim(pod *corev1.Pod) protocol.State {
	n.Helper()
	s, err := client.Attach(n.Context(), filepath.Join(n.cfg.RunDir, "pods", string(pod.UID)), nil)
	if err != nil {
		n.Fatal(err)
	}
	state, err := s.State(n.Context())
	if err != nil {
		n.Fatal(err)
	}
	return state
}

func TestAContainerThatFailsIsRestartedMoreAndMoreSlowly(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	pod := newPod("crash", container("main", "exit", "4"))
	pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	n.api.create(pod)
	got := n.waitPod("crash", "restarted", func(p *corev1.Pod) bool {
		s := p.Status.ContainerStatuses
		return len(s) == 1 && s[0].RestartCount >= 3 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == "CrashLoopBackOff"
	})
	s := got.Status.ContainerStatuses[0]
	if s.LastTerminationState.Terminated == nil || s.LastTerminationState.Terminated.ExitCode != 4 || got.Status.Phase != corev1.PodRunning {
		t.Errorf("status %+v", got.Status)
	}
	if !n.api.hasEvent("BackOff") {
		t.Error("no event BackOff")
	}
	n.await("the previous log", func() bool {
		path, done, err := n.ContainerLog("default", "crash", "main", true)
		if err != nil {
			return false
		}
		<-done
		data, err := os.ReadFile(filepath.Join(n.cfg.LogDir, path))
		return err == nil && strings.Contains(string(data), "exiting with 4")
	})
}

func TestOnFailureEndsWithSuccess(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	pod := newPod("retry", container("main", "once", "/v/mark"))
	pod.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	n.api.create(pod)
	if s := n.waitPhase("retry", corev1.PodSucceeded).Status.ContainerStatuses[0]; s.RestartCount != 1 {
		t.Errorf("status %+v", s)
	}
}

func TestDeletionIsGracefulAndNotReadyAtOnce(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.api.create(newPod("polite", container("main", "sleep")))
	n.waitReady("polite")
	n.await("the handler of SIGTERM", func() bool { return n.log("polite", "main") == "ready\n" })
	n.api.delete("polite", 30)
	n.waitGone("polite")
	n.api.mu.Lock()
	defer n.api.mu.Unlock()
	last := n.api.history[len(n.api.history)-1]
	if s := last.Status.ContainerStatuses[0].State.Terminated; s == nil || s.ExitCode != 0 || last.Status.Phase != corev1.PodSucceeded {
		t.Errorf("last status %+v", last.Status)
	}
	early := slices.ContainsFunc(n.api.history, func(p *corev1.Pod) bool {
		return p.DeletionTimestamp != nil && condition(p, corev1.PodReady) == corev1.ConditionFalse &&
			p.Status.ContainerStatuses[0].State.Running != nil
	})
	if !early {
		t.Error("the pod was not told unready before its container ended")
	}
}

func TestWhoIgnoresTheSignalIsKilled(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.api.create(newPod("rude", container("main", "stubborn")))
	n.waitReady("rude")
	n.await("the handler of SIGTERM", func() bool { return n.log("rude", "main") == "ready\n" })
	n.api.delete("rude", 1)
	n.await("the signal", func() bool { return n.log("rude", "main") == "ready\nignored\n" })
	n.waitGone("rude")
	n.api.mu.Lock()
	defer n.api.mu.Unlock()
	last := n.api.history[len(n.api.history)-1]
	if s := last.Status.ContainerStatuses[0].State.Terminated; s == nil || s.ExitCode != 137 || last.Status.Phase != corev1.PodFailed {
		t.Errorf("last status %+v", last.Status)
	}
}

func TestAPodRemovedByForceLeavesNothing(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	pod := newPod("forced", container("main", "sleep"))
	n.api.create(pod)
	n.waitReady("forced")
	pid := n.shim(pod).Containers[0].PID
	n.api.remove("forced")
	n.await("the process to end", func() bool { return unix.Kill(pid, 0) != nil })
	n.await("the pod to be forgotten", func() bool { return len(n.Running()) == 0 })

	again := newPod("forced", container("main", "sleep"))
	n.api.create(again)
	if got := n.waitReady("forced"); got.UID == pod.UID {
		t.Error("the new pod has the old identity")
	}
}

func TestContainersDoNotNoticeTheAgent(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	all := []*corev1.Pod{newPod("stays", container("main", "sleep")), newPod("deleted", container("main", "sleep")),
		newPod("removed", container("main", "sleep"))}
	for _, p := range all {
		p.Spec.RestartPolicy = corev1.RestartPolicyAlways
		n.api.create(p)
	}
	for _, p := range all {
		n.waitReady(p.Name)
	}
	before := n.shim(all[0])
	status := n.api.get("stays").Status
	n.stop()
	if unix.Kill(before.Containers[0].PID, 0) != nil {
		t.Fatal("the container ended with the agent")
	}
	n.api.delete("deleted", 30)
	n.api.remove("removed")
	n.start()
	n.waitGone("deleted")
	n.await("the removed pod to be forgotten", func() bool { return len(n.Running()) == 1 })
	after := n.shim(all[0])
	if before.ShimPID != after.ShimPID || before.Containers[0] != after.Containers[0] {
		t.Errorf("before %+v, after %+v", before, after)
	}
	now := n.waitReady("stays").Status
	if now.ContainerStatuses[0].State.Running.StartedAt != status.ContainerStatuses[0].State.Running.StartedAt ||
		now.ContainerStatuses[0].RestartCount != 0 || now.PodIP != status.PodIP {
		t.Errorf("before %+v, after %+v", status, now)
	}
}

func TestAKilledShimIsReplaced(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	pod := newPod("bereft", container("main", "sleep"))
	pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	pod.Spec.InitContainers = []corev1.Container{container("init", "exit", "0")}
	n.api.create(pod)
	n.waitReady("bereft")
	old := n.shim(pod)
	if err := unix.Kill(old.ShimPID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	got := n.waitPod("bereft", "running again", func(p *corev1.Pod) bool {
		return p.Status.ContainerStatuses[0].RestartCount == 1 && condition(p, corev1.PodReady) == corev1.ConditionTrue
	})
	last := got.Status.ContainerStatuses[0].LastTerminationState.Terminated
	if last == nil || last.ExitCode != 137 {
		t.Errorf("last state %+v", last)
	}
	if s := got.Status.InitContainerStatuses[0]; s.RestartCount != 1 || s.State.Terminated == nil {
		t.Errorf("init status %+v", s)
	}
	if n.shim(pod).ShimPID == old.ShimPID {
		t.Error("the same shim")
	}
}

func TestWorkGoesOnWithoutTheAPI(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.api.setDown(true)
	pod := newPod("alone", container("main", "sleep"))
	n.api.create(pod)
	n.await("the container", func() bool {
		_, _, err := n.ContainerLog("default", "alone", "main", false)
		return err == nil && n.log("alone", "main") == "ready\n"
	})
	n.api.setDown(false)
	n.waitReady("alone")

	// What others overwrite is put right, and what is theirs stays.
	n.api.change("alone", func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "NodeLost"},
			{Type: "example.com/theirs", Status: corev1.ConditionTrue}}
	})
	got := n.waitReady("alone")
	if condition(got, "example.com/theirs") != corev1.ConditionTrue {
		t.Errorf("conditions %+v", got.Status.Conditions)
	}

	n.api.setDown(true)
	n.api.delete("alone", 30)
	n.await("the sandbox to be gone", func() bool {
		_, err := client.Attach(t.Context(), filepath.Join(n.cfg.RunDir, "pods", string(pod.UID)), nil)
		return err != nil
	})
	n.api.setDown(false)
	n.waitGone("alone")
}

func TestADeletedPodStopsPulling(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	pod := newPod("pulling", container("main", "sleep"))
	pod.Spec.Containers[0].Image = "192.0.2.77/no/such:1" // answers nobody
	n.api.create(pod)
	n.await("the pull", func() bool { return n.api.hasEvent("Pulling") })
	began := time.Now()
	n.api.delete("pulling", 30)
	n.waitGone("pulling")
	t.Log("gone after", time.Since(began))
}

func TestAHungShimDoesNotKeepItsPod(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(c *pods.Config) { c.Timing.KillWait = 10 * time.Millisecond })
	pod := newPod("hung", container("main", "sleep"))
	n.api.create(pod)
	n.waitReady("hung")
	n.stop()
	n.cfg.Timing.Call = 300 * time.Millisecond // from here on there is nothing to make
	state := n.shim(pod)
	if err := unix.Kill(state.ShimPID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	n.api.delete("hung", 0)
	n.start()
	n.waitGone("hung")
	for _, pid := range []int{state.ShimPID, state.Containers[0].PID} {
		n.await("the processes to end", func() bool { return unix.Kill(pid, 0) != nil })
	}
}

func TestAnEndGoesOnAfterARestartOfTheAgent(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.api.create(newPod("ending", container("main", "stubborn")))
	n.await("the handler of SIGTERM", func() bool {
		_, _, err := n.ContainerLog("default", "ending", "main", false)
		return err == nil && n.log("ending", "main") == "ready\n"
	})
	n.api.delete("ending", 2)
	n.await("the signal", func() bool { return strings.HasPrefix(n.log("ending", "main"), "ready\nignored\n") })
	n.stop()
	n.start()
	n.waitGone("ending")
	n.api.mu.Lock()
	defer n.api.mu.Unlock()
	last := n.api.history[len(n.api.history)-1]
	if s := last.Status.ContainerStatuses[0].State.Terminated; s == nil || s.ExitCode != 137 {
		t.Errorf("last status %+v", last.Status)
	}
}

func TestSidecarsOutliveTheWork(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	always := corev1.ContainerRestartPolicyAlways
	pod := newPod("helped", container("main", "exit", "0"))
	sidecar := container("helper", "sleep")
	sidecar.RestartPolicy = &always
	pod.Spec.InitContainers = []corev1.Container{sidecar, container("init", "exit", "0")}
	n.api.create(pod)
	got := n.waitPhase("helped", corev1.PodSucceeded)
	if s := got.Status.InitContainerStatuses[0]; s.State.Terminated == nil || s.RestartCount != 0 {
		t.Errorf("sidecar %+v", s)
	}
}
