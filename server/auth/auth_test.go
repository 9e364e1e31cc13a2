package auth_test

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/auth"
	"github.com/holt-project/holt/server/kinds"
)

// store holds a pod on n1 that refers to the Secrets s-* and ConfigMaps c-*, and one on n2.
func store(t *testing.T) *fsm.Store {
	t.Helper()
	r := kinds.Builtin()
	s := fsm.New(r.Schema(), 0)
	from := func(secret, config string) ([]corev1.EnvFromSource, []corev1.EnvVar) {
		ref := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
		return []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref("s-from-" + secret)}},
				{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref("c-from-" + config)}}},
			[]corev1.EnvVar{{Name: "a", Value: "x"},
				{Name: "b", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref("s-" + secret)}}},
				{Name: "c", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: ref("c-" + config)}}}}
	}
	spec := corev1.PodSpec{NodeName: "n1", ImagePullSecrets: []corev1.LocalObjectReference{{Name: "s-pull"}}}
	var c, init corev1.Container
	var debug corev1.EphemeralContainer
	c.EnvFrom, c.Env = from("env", "env")
	init.EnvFrom, init.Env = from("init", "init")
	debug.EnvFrom, debug.Env = from("debug", "debug")
	spec.Containers, spec.InitContainers, spec.EphemeralContainers = []corev1.Container{c}, []corev1.Container{init}, []corev1.EphemeralContainer{debug}
	spec.Volumes = []corev1.Volume{
		{Name: "a", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s-volume"}}},
		{Name: "b", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "c-volume"}}}},
		{Name: "c", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "s-projected"}}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "c-projected"}}}}}}},
	}
	var ops []fsm.Op
	for name, spec := range map[string]corev1.PodSpec{"mine": spec, "other": {NodeName: "n2"}, "pending": {}} {
		raw, err := r.ByStore("pods").Encode(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: spec})
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, fsm.Op{Verb: fsm.Create, Resource: "pods", Namespace: "default", Name: name, Raw: raw})
	}
	data, err := fsm.Command{Ops: ops}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	results, err := s.Apply(1, data)
	if err != nil {
		t.Fatal(err)
	}
	for _, res := range results {
		if res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	return s
}

func user(name string, groups ...string) auth.User { return auth.User{Name: name, Groups: groups} }

var (
	admin     = user("admin", "system:authenticated", auth.AdminGroup)
	server    = user("system:holt:server:s1", "system:authenticated", auth.ServersGroup)
	nobody    = user(auth.Anonymous, "system:unauthenticated")
	somebody  = user("bob", "system:authenticated")
	agent     = user("system:node:n1", "system:authenticated", auth.NodesGroup)
	pretender = user("system:node:n1", "system:authenticated")
	nameless  = user("system:node:", "system:authenticated", auth.NodesGroup)
)

func path(verb, path string) auth.Attributes { return auth.Attributes{Verb: verb, Path: path} }

func selecting(fields string, a auth.Attributes) auth.Attributes {
	a.Fields = fields
	return a
}

func on(verb, resource, namespace, name, sub string) auth.Attributes {
	a := auth.Attributes{Verb: verb, Resource: resource, Namespace: namespace, Name: name, Subresource: sub, ResourceRequest: true, Version: "v1"}
	switch resource {
	case "leases":
		a.Group = "coordination.k8s.io"
	case "endpointslices":
		a.Group = "discovery.k8s.io"
	case "deployments":
		a.Group = "apps"
	}
	return a
}

func TestAuthorize(t *testing.T) {
	z := auth.NewAuthorizer(store(t).View)
	for _, c := range []struct {
		who  auth.User
		what auth.Attributes
		want bool
	}{
		{admin, on("delete", "nodes", "", "n1", ""), true},
		{admin, path("post", "/holt/v1/members"), true},
		{server, on("list", "secrets", "", "", ""), true},

		{nobody, path("get", "/healthz"), true},
		{nobody, path("get", "/readyz/raft"), true},
		{nobody, path("delete", "/readyz/raft"), false},
		{nobody, path("post", "/healthz"), false},
		{nobody, path("get", "/version"), true},
		{nobody, path("get", "/holt/v1/ca"), true},
		{nobody, path("get", "/holt/v1/ca/x"), false},
		{nobody, path("post", "/holt/v1/join"), true},
		{nobody, path("get", "/holt/v1/join"), false},
		{nobody, path("post", "/holt/v1/members"), false},
		{nobody, path("get", "/holt/v1/status"), false},
		{nobody, path("get", "/api"), false},
		{nobody, path("get", "/metrics"), false},
		{nobody, on("list", "pods", "default", "", ""), false},

		{somebody, path("get", "/api/v1"), true},
		{somebody, path("get", "/apis"), true},
		{somebody, path("get", "/openapi/v3"), true},
		{somebody, path("post", "/api/v1"), false},
		{somebody, path("get", "/apiserver"), false},
		{somebody, on("list", "pods", "default", "", ""), false},
		{pretender, on("list", "nodes", "", "", ""), false},
		{nameless, on("list", "nodes", "", "", ""), false},
		{nameless, on("update", "nodes", "", "", ""), false},

		{agent, on("get", "nodes", "", "n2", ""), true},
		{agent, on("watch", "nodes", "", "", ""), true},
		{agent, on("create", "nodes", "", "", ""), true},
		{agent, on("update", "nodes", "", "n1", "status"), true},
		{agent, on("patch", "nodes", "", "n1", ""), true},
		{agent, on("update", "nodes", "", "n2", "status"), false},
		{agent, on("create", "nodes", "", "n1", "proxy"), false},
		{agent, on("get", "nodes", "", "n1", "proxy"), false},
		{agent, on("get", "nodes", "", "n2", "proxy"), false},
		{agent, on("update", "nodes", "", "n1", "proxy"), false},
		{agent, on("delete", "nodes", "", "n1", ""), false},
		{agent, on("deletecollection", "nodes", "", "n1", ""), false},

		{agent, on("watch", "pods", "", "", ""), false},
		{agent, selecting("spec.nodeName=n1", on("watch", "pods", "", "", "")), true},
		{agent, selecting("spec.nodeName=n1,status.phase=Running", on("list", "pods", "", "", "")), true},
		{agent, selecting("spec.nodeName=n2", on("list", "pods", "", "", "")), false},
		{agent, selecting("spec.nodeName!=n1", on("list", "pods", "", "", "")), false},
		{agent, on("get", "pods", "default", "mine", ""), true},
		{agent, on("get", "pods", "default", "other", ""), false},
		{agent, on("get", "pods", "default", "mine", "log"), false},
		{agent, on("update", "pods", "default", "mine", "status"), true},
		{agent, on("patch", "pods", "default", "mine", "status"), true},
		{agent, on("update", "pods", "default", "mine", ""), false},
		{agent, on("update", "pods", "default", "other", "status"), false},
		{agent, on("update", "pods", "default", "pending", "status"), false},
		{agent, on("delete", "pods", "default", "mine", ""), true},
		{agent, on("delete", "pods", "default", "other", ""), false},
		{agent, on("delete", "pods", "default", "gone", ""), true}, // the API says that it is not there
		{agent, on("deletecollection", "pods", "default", "mine", ""), false},
		{agent, on("create", "pods", "default", "", ""), false},
		{agent, on("create", "pods", "default", "pending", "binding"), false},
		{agent, on("create", "pods", "default", "mine", "eviction"), false},
		{agent, on("create", "pods", "default", "mine", "exec"), false},

		{agent, on("watch", "services", "", "", ""), true},
		{agent, on("get", "services", "default", "s", "proxy"), false},
		{agent, on("update", "services", "default", "s", ""), false},
		{agent, on("list", "endpointslices", "", "", ""), true},
		{agent, on("create", "endpointslices", "default", "", ""), false},
		{agent, on("get", "namespaces", "default", "default", ""), true},
		{agent, on("create", "events", "default", "", ""), true},
		{agent, on("list", "events", "default", "", ""), false},
		{agent, on("list", "deployments", "default", "", ""), false},

		{agent, on("list", "secrets", "", "", ""), false},
		{agent, on("list", "secrets", "default", "s-env", ""), false},
		{agent, on("watch", "secrets", "default", "s-env", ""), false},
		{agent, on("list", "configmaps", "default", "", ""), false},
		{agent, on("update", "secrets", "default", "s-env", ""), false},
		{agent, on("get", "secrets", "default", "unrelated", ""), false},
		{agent, on("get", "secrets", "kube-system", "s-env", ""), false},
		{agent, on("get", "secrets", "kube-system", "holt-cluster", ""), false},
		{agent, on("get", "configmaps", "default", "s-env", ""), false},

		{agent, on("create", "leases", corev1.NamespaceNodeLease, "", ""), true},
		{agent, on("update", "leases", corev1.NamespaceNodeLease, "n1", ""), true},
		{agent, on("update", "leases", corev1.NamespaceNodeLease, "n2", ""), false},
		{agent, on("delete", "leases", corev1.NamespaceNodeLease, "n1", ""), false},
		{agent, on("create", "leases", "kube-system", "", ""), false},
	} {
		c.what.User = c.who
		if got, reason := z.Authorize(context.Background(), c.what); got != c.want {
			t.Errorf("%s, %+v: %v (%s)", c.who.Name, c.what, got, reason)
		}
	}
}

func TestReferences(t *testing.T) {
	z := auth.NewAuthorizer(store(t).View)
	other := user("system:node:n2", "system:authenticated", auth.NodesGroup)
	for resource, names := range map[string][]string{
		"secrets":    {"s-pull", "s-env", "s-from-env", "s-init", "s-from-init", "s-debug", "s-from-debug", "s-volume", "s-projected"},
		"configmaps": {"c-env", "c-from-env", "c-init", "c-from-init", "c-debug", "c-from-debug", "c-volume", "c-projected"},
	} {
		for _, name := range names {
			a := on("get", resource, "default", name, "")
			a.User = agent
			if ok, reason := z.Authorize(context.Background(), a); !ok {
				t.Errorf("%s %s: %s", resource, name, reason)
			}
			a.User = other
			if ok, _ := z.Authorize(context.Background(), a); ok {
				t.Errorf("%s %s is open to another node", resource, name)
			}
		}
	}
}
