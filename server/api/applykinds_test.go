package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/holt-project/holt/server/api"
	"github.com/holt-project/holt/server/kinds"
)

// Every kind that has a manifest among those of package kinds is created by an apply, and shared between appliers.
func TestApplyOfEveryKind(t *testing.T) {
	manifests, err := filepath.Glob("../kinds/testdata/defaults/*.yaml")
	if err != nil || len(manifests) == 0 {
		t.Fatal("no manifests", err)
	}
	for _, path := range manifests {
		resource := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(resource, func(t *testing.T) {
			c := newCluster(t, func(cfg *api.Config) { cfg.Admit = nil }) // a manifest may name what admission looks for
			k := kinds.Builtin().ByStore(resource)
			if k == nil {
				t.Skip("no kind of this registry")
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var u unstructured.Unstructured
			if err := yaml.Unmarshal(data, &u.Object); err != nil {
				t.Fatal(err)
			}
			u.SetGroupVersionKind(k.GVK)
			u.SetUID("") // which would be the one of an object that must be there
			u.SetLabels(map[string]string{"shared": "a", "own": "a"})
			url := "/api/" + k.GVK.Version
			if k.GVK.Group != "" {
				url = "/apis/" + k.GVK.GroupVersion().String()
			}
			if k.Namespaced {
				url += "/namespaces/default"
			}
			url += "/" + k.Resource + "/" + u.GetName()
			other := unstructured.Unstructured{Object: map[string]any{}}
			other.SetGroupVersionKind(k.GVK)
			other.SetName(u.GetName())
			other.SetLabels(map[string]string{"shared": "b"})

			c.apply("a", url, jsonOf(t, u), 201)
			rev := c.store.View().Revision()
			c.apply("a", url, jsonOf(t, u), 200)
			if now := c.store.View().Revision(); now != rev {
				t.Errorf("the same again: revision %d -> %d", rev, now)
			}
			if s := c.apply("b", url, jsonOf(t, other), 409).status(t); !strings.Contains(s.Message, `conflict with "a": .metadata.labels.shared`) {
				t.Errorf("conflict: %q", s.Message)
			}
			c.apply("b", url+"?force=true", jsonOf(t, other), 200)
			other.SetLabels(nil)
			var got metav1.PartialObjectMetadata
			c.apply("b", url, jsonOf(t, other), 200).decode(t, &got)
			if _, ok := got.Labels["shared"]; ok || got.Labels["own"] != "a" {
				t.Errorf("labels %v", got.Labels)
			}
		})
	}
}

func jsonOf(t *testing.T, u unstructured.Unstructured) string {
	t.Helper()
	data, err := u.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func container(name, image, more string) string {
	return fmt.Sprintf("- {name: %s, image: %s%s}", name, image, more)
}

func deploymentYAML(replicas string, containers ...string) string {
	return `apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  ` + replicas + `
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      containers:
      ` + strings.Join(containers, "\n      ") + "\n"
}

func (c *cluster) deployment(a answer) *appsv1.Deployment {
	c.t.Helper()
	var d appsv1.Deployment
	a.decode(c.t, &d)
	return &d
}

// Items of lists with keys have owners of their own.
func TestApplyMergesListsByKey(t *testing.T) {
	c := newCluster(t)
	path := deployments + "/d"
	c.apply("a", path, deploymentYAML("replicas: 2", container("web", "i:1", ", ports: [{containerPort: 80}]")), 201)
	side := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: {spec: {containers: [" +
		"{name: side, image: s}, {name: web, ports: [{containerPort: 81}]}]}}}"
	d := c.deployment(c.apply("b", path, side, 200))
	spec := d.Spec.Template.Spec.Containers
	if len(spec) != 2 || spec[1].Image != "i:1" || len(spec[1].Ports) != 2 || spec[0].Name != "side" || d.Generation != 2 {
		t.Fatalf("merged: generation %d, %+v", d.Generation, spec)
	}
	if spec[0].ImagePullPolicy == "" {
		t.Errorf("no defaults: %+v", spec[0])
	}
	d = c.deployment(c.apply("b", path, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n", 200))
	if spec = d.Spec.Template.Spec.Containers; len(spec) != 1 || len(spec[0].Ports) != 1 {
		t.Errorf("after b left: %+v", spec)
	}
	wrong := deploymentYAML("replicas: 2", container("web", "i:1", ""), container("web", "i:2", ""))
	if s := c.apply("a", path, wrong, 500).status(t); !strings.Contains(s.Message, `duplicate entries for key [name="web"]`) {
		t.Errorf("two of one key: %q", s.Message)
	}
}

func TestApplyOfStatus(t *testing.T) {
	c := newCluster(t)
	path := deployments + "/d"
	c.apply("a", path, deploymentYAML("replicas: 2", container("web", "i", "")), 201)
	status := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: 9}\nstatus: {replicas: 3, readyReplicas: 1}"
	d := c.deployment(c.apply("controller", path+"/status", status, 200))
	if *d.Spec.Replicas != 2 || d.Status.Replicas != 3 || d.Status.ReadyReplicas != 1 {
		t.Fatalf("%d, %+v", *d.Spec.Replicas, d.Status)
	}
	if got := owners(d); !strings.Contains(got, `controller Apply apps/v1 status {"f:status":{"f:readyReplicas":{},"f:replicas":{}}}`) {
		t.Errorf("owners:\n%s", got)
	}
	if s := c.apply("other", path+"/status", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nstatus: {replicas: 4}", 409).
		status(t); !strings.Contains(s.Message, `conflict with "controller" with subresource "status": .status.replicas`) {
		t.Errorf("conflict: %q", s.Message)
	}
	// What the object itself takes from an applied status is nothing, owners included.
	d = c.deployment(c.apply("a", path, deploymentYAML("replicas: 2", container("web", "i", ""))+"status: {replicas: 7}\n", 200))
	if d.Status.Replicas != 3 || strings.Contains(owners(d), "a Apply apps/v1  {\"f:status") {
		t.Errorf("status %+v, owners:\n%s", d.Status, owners(d))
	}
	c.apply("a", deployments+"/none/status", strings.ReplaceAll(status, "name: d", "name: none"), 404)
	d.Status.AvailableReplicas = 1
	patch := `{"status":{"availableReplicas":1}}`
	d = c.deployment(c.patch("merge-patch+json", path+"/status?fieldManager=c", patch, 200))
	if got := owners(d); !strings.Contains(got, `c Update apps/v1 status {"f:status":{"f:availableReplicas":{}}}`) {
		t.Errorf("owners:\n%s", got)
	}
}

func TestApplyOfScale(t *testing.T) {
	c := newCluster(t)
	path := deployments + "/d"
	c.apply("a", path, deploymentYAML("replicas: 2", container("web", "i", "")), 201)
	scale := "apiVersion: autoscaling/v1\nkind: Scale\nmetadata: {name: d}\nspec: {replicas: 5}"
	if s := c.apply("scaler", path+"/scale", scale, 409).status(t); !strings.Contains(s.Message, `conflict with "a": .spec.replicas`) {
		t.Errorf("conflict: %q", s.Message)
	}
	var got autoscalingv1.Scale
	c.apply("scaler", path+"/scale?force=true", scale, 200).decode(t, &got)
	d := c.deployment(c.must("GET", path, "", 200))
	if got.Spec.Replicas != 5 || *d.Spec.Replicas != 5 || !strings.Contains(owners(d), `scaler Apply apps/v1 scale {"f:spec":{"f:replicas":{}}}`) {
		t.Errorf("scaled to %d, %d; owners:\n%s", got.Spec.Replicas, *d.Spec.Replicas, owners(d))
	}
	if s := c.apply("a", path, deploymentYAML("replicas: 2", container("web", "i", "")), 409).
		status(t); !strings.Contains(s.Message, `conflict with "scaler" with subresource "scale": .spec.replicas`) {
		t.Errorf("conflict: %q", s.Message)
	}
	// Who leaves the replicas out leaves them to the scaler.
	d = c.deployment(c.apply("a", path, deploymentYAML("paused: false", container("web", "i", "")), 200))
	if *d.Spec.Replicas != 5 {
		t.Errorf("%d replicas", *d.Spec.Replicas)
	}
	c.patch("merge-patch+json", path+"/scale?fieldManager=hpa", `{"spec":{"replicas":6}}`, 200)
	d = c.deployment(c.must("GET", path, "", 200))
	if got := owners(d); !strings.Contains(got, `hpa Update apps/v1 scale {"f:spec":{"f:replicas":{}}}`) || strings.Contains(got, "scaler") {
		t.Errorf("owners:\n%s", got)
	}
}
