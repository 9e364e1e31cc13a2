package pods_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAPodRunsToItsEnd(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.api.create(newPod("good", container("main", "say", "hello")))
	n.api.create(newPod("bad", container("main", "exit", "3")))
	pod := n.waitPhase("good", corev1.PodSucceeded)
	if got := n.log("good", "main"); got != "hello\n" {
		t.Errorf("log %q", got)
	}
	s := pod.Status.ContainerStatuses[0]
	if s.State.Terminated == nil || s.State.Terminated.Reason != "Completed" || s.RestartCount != 0 {
		t.Errorf("status %+v", s)
	}
	if condition(pod, corev1.PodReady) != corev1.ConditionFalse || condition(pod, corev1.PodScheduled) != corev1.ConditionTrue {
		t.Errorf("conditions %+v", pod.Status.Conditions)
	}
	s = n.waitPhase("bad", corev1.PodFailed).Status.ContainerStatuses[0]
	if s.State.Terminated == nil || s.State.Terminated.ExitCode != 3 || s.State.Terminated.Reason != "Error" {
		t.Errorf("status %+v", s)
	}
	for _, reason := range []string{"Pulled", "Created", "Started"} {
		if !n.api.hasEvent(reason) {
			t.Errorf("no event %s in %v", reason, n.api.eventList())
		}
	}
}

func TestContainersOfAPodShareItsGround(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	pod := newPod("two",
		container("a", "write", "/dev/shm/note", "from a"),
		container("b", "sleep"))
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.InitContainers = []corev1.Container{container("first", "write", "/data/made", "by init\n")}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "settings", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}},
	}
	mount := []corev1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "settings", MountPath: "/etc/settings"}}
	pod.Spec.InitContainers[0].VolumeMounts = mount
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "c", Image: testImage, VolumeMounts: mount,
		Args: []string{"cat", "/data/made", "/etc/settings/key", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}})
	n.api.maps["settings"] = &corev1.ConfigMap{Data: map[string]string{"key": "value\n"}}
	n.api.create(pod)
	got := n.waitPod("two", "half done", func(p *corev1.Pod) bool {
		s := p.Status.ContainerStatuses
		return len(s) == 3 && s[0].State.Terminated != nil && s[1].State.Running != nil && s[2].State.Terminated != nil
	})
	if got.Status.Phase != corev1.PodRunning || condition(got, corev1.PodInitialized) != corev1.ConditionTrue ||
		condition(got, corev1.PodReady) != corev1.ConditionFalse {
		t.Errorf("status %+v", got.Status)
	}
	if s := got.Status.InitContainerStatuses[0]; s.State.Terminated == nil || !s.Ready {
		t.Errorf("init status %+v", s)
	}
	text := n.log("two", "c")
	for _, want := range []string{"by init\nvalue\ntwo\n", got.Status.PodIP + "\ttwo\n", "nameserver 10.96.0.10"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	n.api.change("two", func(p *corev1.Pod) { p.Status.Phase, p.Status.Reason = corev1.PodFailed, "Evicted" })
	n.waitPod("two", "stopped", func(p *corev1.Pod) bool {
		return p.Status.ContainerStatuses[1].State.Terminated != nil && p.Status.Reason == "Evicted" &&
			condition(p, corev1.PodReadyToStartContainers) == corev1.ConditionFalse
	})
}

func TestAContainerSeesItsPod(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	c := container("main", "env", "FROM_IMAGE", "NAME", "IP", "GREETING", "KEY", "LIMIT", "KUBERNETES_SERVICE_HOST", "PLAIN")
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	c.Env = []corev1.EnvVar{
		{Name: "NAME", ValueFrom: field("metadata.name")},
		{Name: "IP", ValueFrom: field("status.podIP")},
		{Name: "GREETING", Value: "hello $(NAME) $$(NAME) $(UNKNOWN)"},
		{Name: "KEY", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "late"}, Key: "key"}}},
		{Name: "LIMIT", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory"}}},
	}
	c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi"), corev1.ResourceCPU: resource.MustParse("500m")}
	n.api.services = []*corev1.Service{{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes", Namespace: "default"},
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{{Name: "https", Port: 443}}}}}
	n.api.create(newPod("env", c))

	waiting := n.waitPod("env", "without its config map", func(p *corev1.Pod) bool {
		s := p.Status.ContainerStatuses
		return len(s) == 1 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == "CreateContainerConfigError"
	})
	if waiting.Status.Phase != corev1.PodPending {
		t.Errorf("phase %s", waiting.Status.Phase)
	}
	n.api.mu.Lock()
	n.api.maps["late"] = &corev1.ConfigMap{Data: map[string]string{"key": "came"}}
	n.api.mu.Unlock()
	pod := n.waitPhase("env", corev1.PodSucceeded)
	want := []string{"FROM_IMAGE=yes", "NAME=env", "IP=" + pod.Status.PodIP, "GREETING=hello env $(NAME) $(UNKNOWN)", "KEY=came",
		"LIMIT=67108864", "KUBERNETES_SERVICE_HOST=10.96.0.1", "PLAIN=", ""}
	if diff := cmp.Diff(want, strings.Split(n.log("env", "main"), "\n")); diff != "" {
		t.Error(diff)
	}
}

func TestAContainerHasNoMoreRightsThanItNeeds(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	fields := []string{"status", "Uid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp"}
	plain, tight := container("plain", fields...), container("tight", fields...)
	user, no := int64(1000), false
	tight.SecurityContext = &corev1.SecurityContext{RunAsUser: &user, AllowPrivilegeEscalation: &no,
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
	n.api.create(newPod("rights", plain, tight))
	n.waitPhase("rights", corev1.PodSucceeded)
	if got, want := n.log("rights", "plain"), "Uid=0 0 0 0\nCapEff=00000000a80425fb\nCapBnd=00000000a80425fb\nNoNewPrivs=0\nSeccomp=2\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := n.log("rights", "tight"), "Uid=1000 1000 1000 1000\nCapEff=0000000000000000\nCapBnd=0000000000000000\nNoNewPrivs=1\nSeccomp=2\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWantOfMemoryIsTold(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	c := container("main", "eat")
	c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("24Mi")}
	n.api.create(newPod("hungry", c))
	s := n.waitPhase("hungry", corev1.PodFailed).Status.ContainerStatuses[0]
	if s.State.Terminated == nil || s.State.Terminated.Reason != "OOMKilled" || s.State.Terminated.ExitCode != 137 {
		t.Errorf("status %+v", s)
	}
}

func TestAPodThatCannotRunSaysWhy(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	waits := map[string]string{}
	add := func(name, reason string, change func(*corev1.Pod)) {
		pod := newPod(name, container("main", "sleep"))
		change(pod)
		n.api.create(pod)
		waits[name] = reason
	}
	add("missing", "ImagePullBackOff", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "127.0.0.1:1/no/such:1" })
	add("unnamed", "InvalidImageName", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "Not An Image" })
	add("never", "ErrImageNeverPull", func(p *corev1.Pod) {
		p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = "holt.local/other:1", corev1.PullNever
	})
	add("root", "CreateContainerConfigError", func(p *corev1.Pod) {
		yes := true
		p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: &yes}
	})
	for name, reason := range waits {
		pod := n.waitPod(name, reason, func(p *corev1.Pod) bool {
			s := p.Status.ContainerStatuses
			return len(s) == 1 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == reason
		})
		if pod.Status.Phase != corev1.PodPending || pod.Status.ContainerStatuses[0].State.Waiting.Message == "" {
			t.Errorf("%s: %+v", name, pod.Status)
		}
	}

	command := newPod("command", corev1.Container{Name: "main", Image: testImage, Command: []string{"/no/such/command"}})
	n.api.create(command)
	s := n.waitPhase("command", corev1.PodFailed).Status.ContainerStatuses[0].State.Terminated
	if s == nil || s.Reason != "StartError" || s.ExitCode != 128 || !strings.Contains(s.Message, "/no/such/command") {
		t.Errorf("command: %+v", s)
	}

	volume := newPod("volume", container("main", "sleep"))
	volume.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}}}
	n.api.create(volume)
	n.waitPod("volume", "refused", func(p *corev1.Pod) bool { return p.Status.Reason == "Unsupported" && p.Status.Message != "" })
	for _, reason := range []string{"Pulling", "Failed", "BackOff", "InspectFailed", "ErrImageNeverPull", "Unsupported"} {
		if !n.api.hasEvent(reason) {
			t.Errorf("no event %s in %v", reason, n.api.eventList())
		}
	}
}

func TestAPodOnTheHostsNetwork(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	yes := true
	c := container("main", "status", "CapEff", "Seccomp")
	c.SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	pod := newPod("host", c)
	pod.Spec.HostNetwork, pod.Spec.HostPID, pod.Spec.HostIPC = true, true, true
	n.api.create(pod)
	got := n.waitPod("host", "ended", func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	})
	if got.Status.PodIP != n.cfg.NodeIP.String() || got.Status.HostIP != got.Status.PodIP || len(n.links.addrs) > 0 {
		t.Errorf("status %+v", got.Status)
	}
	if text := n.log("host", "main"); !strings.HasSuffix(text, "Seccomp=0\n") {
		t.Errorf("log %q; status %+v", text, got.Status.ContainerStatuses[0].State)
	}
}
