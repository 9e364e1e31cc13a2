package oci_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/agent/pods/oci"
)

// objects are what environments refer to.
type objects struct {
	maps    map[string]map[string]string
	secrets map[string]map[string][]byte
}

func (o objects) ConfigMap(_ context.Context, _, name string) (*corev1.ConfigMap, error) {
	if data, ok := o.maps[name]; ok {
		return &corev1.ConfigMap{Data: data}, nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("configmaps"), name)
}

func (o objects) Secret(_ context.Context, _, name string) (*corev1.Secret, error) {
	if data, ok := o.secrets[name]; ok {
		return &corev1.Secret{Data: data}, nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("secrets"), name)
}

func TestExpand(t *testing.T) {
	known := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "1", "B": "$(A)", "EMPTY": ""}[name]
		return v, ok
	}
	for in, want := range map[string]string{
		"": "", "plain": "plain", "$(A)": "1", "x$(A)y$(A)": "x1y1", "$(B)": "$(A)", "$(NONE)": "$(NONE)", "$(EMPTY)": "",
		"$$(A)": "$(A)", "$$$(A)": "$1", "$A": "$A", "$": "$", "$(A": "$(A", "a$": "a$", "$()": "$()", "$$": "$",
	} {
		if got := oci.Expand(in, known); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestCommand(t *testing.T) {
	image := ociv1.ImageConfig{Entrypoint: []string{"ep"}, Cmd: []string{"cmd"}, WorkingDir: "/image"}
	for _, c := range []struct {
		command, args, want []string
		image               ociv1.ImageConfig
	}{
		{nil, nil, []string{"ep", "cmd"}, image},
		{[]string{"c"}, nil, []string{"c"}, image},
		{nil, []string{"$(V)"}, []string{"ep", "v"}, image},
		{[]string{"c"}, []string{"a"}, []string{"c", "a"}, image},
		{nil, nil, nil, ociv1.ImageConfig{}},
	} {
		container := corev1.Container{Name: "main", Command: c.command, Args: c.args, Env: []corev1.EnvVar{{Name: "V", Value: "v"}}}
		spec, err := specOf(t, &corev1.Pod{}, container, c.image)
		if c.want == nil {
			if err == nil {
				t.Error("no command is no error")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, spec.Process.Args); diff != "" {
			t.Error(diff)
		}
		if spec.Process.Cwd != "/image" {
			t.Errorf("working directory %q", spec.Process.Cwd)
		}
	}
}

// specOf makes the configuration of a container whose environment needs nothing else.
func specOf(t *testing.T, pod *corev1.Pod, c corev1.Container, image ociv1.ImageConfig) (*specs.Spec, error) {
	t.Helper()
	env, err := oci.Env(t.Context(), pod, &c, oci.Surroundings{}, objects{})
	if err != nil {
		t.Fatal(err)
	}
	return oci.Spec(oci.Container{Pod: pod, Container: &c, Image: image, Rootfs: "/rootfs", Env: env, OOMFloor: -1000, Capabilities: 1<<41 - 1,
		Capacity: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1000Mi")}})
}

func TestEnvironment(t *testing.T) {
	yes, no := true, false
	source := objects{
		maps:    map[string]map[string]string{"m": {"b": "2", "a": "1", "bad=name": "x"}},
		secrets: map[string]map[string][]byte{"s": {"key": []byte("hidden")}},
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u", Labels: map[string]string{"b": "2", "a": "1"}},
		Spec: corev1.PodSpec{NodeName: "node", EnableServiceLinks: &no}}
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	limits := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")}
	c := corev1.Container{
		Name: "main", Resources: corev1.ResourceRequirements{Limits: limits},
		EnvFrom: []corev1.EnvFromSource{
			{Prefix: "M_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "m"}}},
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}, Optional: &yes}},
		},
		Env: []corev1.EnvVar{
			{Name: "LABELS", ValueFrom: field("metadata.labels")}, {Name: "LABEL", ValueFrom: field("metadata.labels['a']")},
			{Name: "NODE", ValueFrom: field("spec.nodeName")}, {Name: "HOST", ValueFrom: field("status.hostIP")},
			{Name: "SECRET", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: "key"}}},
			{Name: "OPTIONAL", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "m"}, Key: "none", Optional: &yes}}},
			{Name: "CPUS", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu"}}},
			{Name: "MEMORY", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{
				Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}}},
			{Name: "M_a", Value: "$(M_b)/$(SECRET)"},
		},
	}
	service := func(ns, name, ip string) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns},
			Spec: corev1.ServiceSpec{ClusterIP: ip, Ports: []corev1.ServicePort{{Port: 443}}}}
	}
	at := oci.Surroundings{HostIP: "192.0.2.1", Capacity: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("8Gi")},
		Services: []*corev1.Service{service("ns", "my-db", "10.0.0.2"), service("ns", "headless", "None"), service("default", "kubernetes", "10.0.0.1")}}
	env, err := oci.Env(t.Context(), pod, &c, at, source)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"KUBERNETES_SERVICE_HOST=10.0.0.1", "KUBERNETES_SERVICE_PORT=443", "KUBERNETES_PORT=tcp://10.0.0.1:443",
		"KUBERNETES_PORT_443_TCP=tcp://10.0.0.1:443", "KUBERNETES_PORT_443_TCP_PROTO=tcp", "KUBERNETES_PORT_443_TCP_PORT=443",
		"KUBERNETES_PORT_443_TCP_ADDR=10.0.0.1",
		"M_a=2/hidden", "M_b=2", "LABELS=a=\"1\"\nb=\"2\"", "LABEL=1", "NODE=node", "HOST=192.0.2.1", "SECRET=hidden", "CPUS=2", "MEMORY=8192",
	}
	if diff := cmp.Diff(want, env.List()); diff != "" {
		t.Error(diff)
	}

	pod.Spec.EnableServiceLinks = nil
	if env, err = oci.Env(t.Context(), pod, &corev1.Container{}, at, source); err != nil {
		t.Fatal(err)
	}
	if v, _ := env.Lookup("MY_DB_SERVICE_HOST"); v != "10.0.0.2" {
		t.Errorf("MY_DB_SERVICE_HOST=%q", v)
	}
	for _, bad := range []*corev1.EnvVarSource{
		field("spec.unknown"), {},
		{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "m"}, Key: "none"}},
		{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}, Key: "key"}},
		{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "cpu"}},
	} {
		if _, err := oci.Env(t.Context(), pod, &corev1.Container{Env: []corev1.EnvVar{{Name: "BAD", ValueFrom: bad}}}, at, source); err == nil ||
			!strings.Contains(err.Error(), "BAD") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestResources(t *testing.T) {
	list := func(cpu, memory string) corev1.ResourceList {
		out := corev1.ResourceList{}
		if cpu != "" {
			out[corev1.ResourceCPU] = resource.MustParse(cpu)
		}
		if memory != "" {
			out[corev1.ResourceMemory] = resource.MustParse(memory)
		}
		return out
	}
	for _, c := range []struct {
		requests, limits     corev1.ResourceList
		shares               uint64
		quota, memory, score int64
	}{
		{nil, nil, 2, 0, 0, 1000},
		{list("250m", "100Mi"), nil, 256, 0, 0, 900},
		{nil, list("2", "1Gi"), 2048, 200_000, 1 << 30, -997},
		{list("100m", ""), list("5m", ""), 102, 1000, 0, 999},
	} {
		container := corev1.Container{Command: []string{"c"}, Resources: corev1.ResourceRequirements{Requests: c.requests, Limits: c.limits}}
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{container}}}
		spec, err := specOf(t, pod, container, ociv1.ImageConfig{})
		if err != nil {
			t.Fatal(err)
		}
		r := spec.Linux.Resources
		var quota, memory int64
		if r.CPU.Quota != nil {
			quota = *r.CPU.Quota
		}
		if r.Memory != nil {
			memory = *r.Memory.Limit
		}
		if *r.CPU.Shares != c.shares || quota != c.quota || memory != c.memory || int64(*spec.Process.OOMScoreAdj) != c.score || *r.Pids.Limit <= 0 {
			t.Errorf("%v %v: shares %d, quota %d, memory %d, score %d", c.requests, c.limits, *r.CPU.Shares, quota, memory, *spec.Process.OOMScoreAdj)
		}
	}
}

func TestPrivileges(t *testing.T) {
	yes, no := true, false
	spec := func(sc *corev1.SecurityContext) *specs.Spec {
		t.Helper()
		out, err := specOf(t, &corev1.Pod{}, corev1.Container{Command: []string{"c"}, SecurityContext: sc}, ociv1.ImageConfig{})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	plain := spec(nil)
	if len(plain.Process.Capabilities.Bounding) != 14 || plain.Linux.Seccomp == nil || len(plain.Linux.MaskedPaths) == 0 ||
		len(plain.Process.Capabilities.Ambient)+len(plain.Process.Capabilities.Inheritable) > 0 || plain.Linux.Resources.Devices[0].Allow {
		t.Errorf("plain: %+v", plain.Process.Capabilities)
	}
	mixed := spec(&corev1.SecurityContext{ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{
		Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_ADMIN", "CAP_SYS_TIME"}}})
	if diff := cmp.Diff([]string{"CAP_NET_ADMIN", "CAP_SYS_TIME"}, mixed.Process.Capabilities.Effective); diff != "" ||
		!mixed.Root.Readonly || !mixed.Process.NoNewPrivileges {
		t.Error(diff, mixed.Root, mixed.Process.NoNewPrivileges)
	}
	less := spec(&corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"ALL"}, Drop: []corev1.Capability{"SYS_ADMIN"}}})
	if c := less.Process.Capabilities.Bounding; len(c) != 40 || slices.Contains(c, "CAP_SYS_ADMIN") {
		t.Errorf("all but one: %v", c)
	}
	full := spec(&corev1.SecurityContext{Privileged: &yes})
	if len(full.Process.Capabilities.Bounding) != 41 || full.Linux.Seccomp != nil || full.Linux.MaskedPaths != nil || len(full.Linux.Devices) == 0 ||
		!full.Linux.Resources.Devices[0].Allow {
		t.Errorf("privileged: %+v", full.Linux)
	}
	unconfined := spec(&corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}})
	if unconfined.Linux.Seccomp != nil {
		t.Error("Unconfined has a profile")
	}
	local := corev1.Container{Command: []string{"c"}, SecurityContext: &corev1.SecurityContext{
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost}}}
	if _, err := specOf(t, &corev1.Pod{}, local, ociv1.ImageConfig{}); err == nil {
		t.Error("a profile that is not there is no error")
	}
}

// users knows root and one other.
type users struct{}

func (users) ResolveUser(_, user string) (uid, gid uint32, groups []uint32, err error) {
	switch user {
	case "", "0":
		return 0, 0, nil, nil
	case "web", "33":
		return 33, 34, []uint32{50}, nil
	}
	return 0, 0, nil, errors.New("no such user")
}

func TestUser(t *testing.T) {
	id := func(n int64) *int64 { return &n }
	yes := true
	for _, c := range []struct {
		name, image string
		pod         *corev1.PodSecurityContext
		container   *corev1.SecurityContext
		want        specs.User
		fails       bool
	}{
		{name: "image's", image: "web", want: specs.User{UID: 33, GID: 34, AdditionalGids: []uint32{50}}},
		{name: "pod's", pod: &corev1.PodSecurityContext{RunAsUser: id(33), FSGroup: id(7), SupplementalGroups: []int64{9}},
			want: specs.User{UID: 33, GID: 34, AdditionalGids: []uint32{7, 9, 50}}},
		{name: "container's", image: "web", pod: &corev1.PodSecurityContext{RunAsUser: id(33)},
			container: &corev1.SecurityContext{RunAsUser: id(0), RunAsGroup: id(5)}, want: specs.User{GID: 5}},
		{name: "unknown", image: "nobody", fails: true},
		{name: "root", pod: &corev1.PodSecurityContext{RunAsNonRoot: &yes}, fails: true},
	} {
		got, err := oci.User(&corev1.Pod{Spec: corev1.PodSpec{SecurityContext: c.pod}}, &corev1.Container{SecurityContext: c.container},
			c.image, "/rootfs", users{})
		if (err != nil) != c.fails {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}
