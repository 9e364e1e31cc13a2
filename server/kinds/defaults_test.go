package kinds_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/holt-project/holt/fsm"
)

var rewrite = flag.Bool("rewrite", false, "write what comes out as the golden files")

// Each manifest of testdata/defaults is named for its kind; beside it, with the ending .golden, is what becomes of it
// when it is created.
func TestCreatedObjects(t *testing.T) {
	manifests, err := filepath.Glob("testdata/defaults/*.yaml")
	if err != nil || len(manifests) == 0 {
		t.Fatal("no manifests", err)
	}
	for _, path := range manifests {
		resource := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(resource, func(t *testing.T) {
			manifest, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			k := find(t, resource)
			obj := create(t, k, string(manifest))
			sameProblems(t, problems(k, obj))
			got, err := yaml.Marshal(obj)
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, strings.TrimSuffix(path, ".yaml")+".golden", string(got))
		})
	}
}

func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); -rewrite accepts:\n%s", path, diff)
	}
}

const webDeployment = `
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: "app:1"}]}
`

func TestGenerationCountsChangesOfTheSpecification(t *testing.T) {
	k := find(t, "deployments.apps")
	created := create(t, k, webDeployment)
	same, errs := update(t, k, created, webDeployment)
	sameProblems(t, errs)
	changed, errs := update(t, k, created, strings.Replace(webDeployment, "app:1", "app:2", 1))
	sameProblems(t, errs)
	labelled, errs := update(t, k, created, strings.Replace(webDeployment, "name: web,", "name: web, labels: {a: b},", 1))
	sameProblems(t, errs)
	got := []int64{created.GetGeneration(), same.GetGeneration(), changed.GetGeneration(), labelled.GetGeneration()}
	if diff := cmp.Diff([]int64{1, 1, 2, 1}, got); diff != "" {
		t.Error(diff)
	}
}

func TestStatusIsNotTheClients(t *testing.T) {
	k := find(t, "pods")
	const manifest = `
metadata: {name: a, namespace: default, generation: 9}
spec: {containers: [{name: a, image: a}]}
status: {phase: Running, podIP: 10.0.0.1}
`
	created := create(t, k, manifest).(*corev1.Pod)
	want := corev1.PodStatus{Phase: corev1.PodPending, QOSClass: corev1.PodQOSBestEffort}
	if diff := cmp.Diff(want, created.Status); diff != "" {
		t.Errorf("a new pod (-want +got):\n%s", diff)
	}
	old := created.DeepCopy()
	old.Status.PodIP = "10.0.0.2"
	updated, errs := update(t, k, old, manifest)
	sameProblems(t, errs)
	if diff := cmp.Diff(old.Status, updated.(*corev1.Pod).Status); diff != "" {
		t.Errorf("an updated pod (-want +got):\n%s", diff)
	}
}

func TestNamespaceKeepsItsFinalizer(t *testing.T) {
	k := find(t, "namespaces")
	created := create(t, k, `{metadata: {name: team}}`).(*corev1.Namespace)
	updated, errs := update(t, k, created, `{metadata: {name: team}, spec: {finalizers: []}}`)
	sameProblems(t, errs)
	ns := updated.(*corev1.Namespace)
	if diff := cmp.Diff([]corev1.FinalizerName{corev1.FinalizerKubernetes}, ns.Spec.Finalizers); diff != "" {
		t.Error(diff)
	}
	body := ns.DeepCopy()
	body.Spec.Finalizers = nil
	if errs := k.Subresources["finalize"].Update(ns, body); len(errs) > 0 {
		t.Error(errs)
	}
	if len(ns.Spec.Finalizers) > 0 {
		t.Error("finalize left", ns.Spec.Finalizers)
	}
}

func TestGracePeriod(t *testing.T) {
	k := find(t, "pods")
	for name, test := range map[string]struct {
		manifest string
		want     int64
	}{
		"unbound":  {`{spec: {terminationGracePeriodSeconds: 5}}`, 0},
		"bound":    {`{spec: {nodeName: a, terminationGracePeriodSeconds: 5}}`, 5},
		"default":  {`{spec: {nodeName: a}}`, 30},
		"zero":     {`{spec: {nodeName: a, terminationGracePeriodSeconds: 0}}`, 0},
		"negative": {`{spec: {nodeName: a, terminationGracePeriodSeconds: -1}}`, 1},
		"ended":    {`{spec: {nodeName: a}, status: {phase: Succeeded}}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var obj fsm.Value = parse(t, k, test.manifest)
			if got := k.GracePeriod(obj); got != test.want {
				t.Errorf("%d seconds, want %d", got, test.want)
			}
		})
	}
}
