package api_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/server/auth"
)

const (
	deployments = "/apis/apps/v1/namespaces/default/deployments"
	applyYAML   = "application/apply-patch+yaml"
)

// apply sends a configuration as a manager. path may have a query.
func (c *cluster) apply(manager, path, body string, code int) answer {
	c.t.Helper()
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return c.must("PATCH", path+sep+"fieldManager="+url.QueryEscape(manager), body, code, "Content-Type", applyYAML)
}

func appliedMap(name string, data ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n", name)
	for i := 0; i < len(data); i += 2 {
		fmt.Fprintf(&b, "  %s: %q\n", data[i], data[i+1])
	}
	return b.String()
}

// owners describes managedFields: a line for each entry.
func owners(m metav1.Object) string {
	var b strings.Builder
	for _, e := range m.GetManagedFields() {
		fmt.Fprintf(&b, "%s %s %s %s %s\n", e.Manager, e.Operation, e.APIVersion, e.Subresource, e.FieldsV1)
	}
	return b.String()
}

func wantOwners(t *testing.T, m metav1.Object, lines ...string) {
	t.Helper()
	want := strings.Join(append(lines, ""), "\n")
	if got := owners(m); got != want {
		t.Errorf("owners:\n%swant:\n%s", got, want)
	}
}

func TestApplyCreatesMergesAndPrunes(t *testing.T) {
	c := newCluster(t)
	cm := c.configMap(c.apply("a", configMaps+"/x", appliedMap("x", "k", "1", "l", "1"), 201))
	if cm.UID == "" || cm.ResourceVersion == "" || cm.CreationTimestamp.IsZero() || cm.ManagedFields[0].Time == nil {
		t.Fatalf("created: %+v", cm)
	}
	wantOwners(t, cm, `a Apply v1  {"f:data":{"f:k":{},"f:l":{}}}`)

	s := c.apply("b", configMaps+"/x", appliedMap("x", "k", "2", "m", "2"), 409).status(t)
	if s.Reason != metav1.StatusReasonConflict || s.Message != `Apply failed with 1 conflict: conflict with "a": .data.k` ||
		len(s.Details.Causes) != 1 || s.Details.Causes[0].Type != metav1.CauseTypeFieldManagerConflict {
		t.Errorf("conflict: %+v", s)
	}
	cm = c.configMap(c.apply("b", configMaps+"/x?force=true", appliedMap("x", "k", "2", "m", "2"), 200))
	wantOwners(t, cm, `a Apply v1  {"f:data":{"f:l":{}}}`, `b Apply v1  {"f:data":{"f:k":{},"f:m":{}}}`)
	if cm.Data["k"] != "2" || cm.Data["l"] != "1" || cm.Data["m"] != "2" {
		t.Errorf("forced: %v", cm.Data)
	}
	// The same value is shared; who drops it leaves it to the other, and the last one removes it.
	c.apply("a", configMaps+"/x", appliedMap("x", "k", "2"), 200)
	cm = c.configMap(c.apply("b", configMaps+"/x", appliedMap("x", "m", "2"), 200))
	if cm.Data["k"] != "2" || cm.Data["l"] != "" {
		t.Errorf("shared: %v", cm.Data)
	}
	cm = c.configMap(c.apply("a", configMaps+"/x", appliedMap("x", "o", "2"), 200))
	if _, ok := cm.Data["k"]; ok || cm.Data["o"] != "2" {
		t.Errorf("dropped by all: %v", cm.Data)
	}
}

func TestApplyIsRefused(t *testing.T) {
	c := newCluster(t)
	c.apply("a", configMaps+"/x", appliedMap("x", "k", "1"), 201)
	for _, tc := range []struct {
		name, path, body, contentType string
		code                          int
		message                       string
	}{
		{"no manager", "/x", appliedMap("x"), applyYAML, 422, "fieldManager: Required value: is required for apply patch"},
		{"long manager", "/x?fieldManager=" + strings.Repeat("x", 129), appliedMap("x"), applyYAML, 422, "fieldManager: Too long"},
		{"unprintable manager", "/x?fieldManager=%07", `{"data":{}}`, "application/merge-patch+json", 422, "invalid character"},
		{"force of another patch", "/x?force=true", `{"data":{}}`, "application/merge-patch+json", 422,
			"force: Forbidden: may not be specified for non-apply patch"},
		{"no type", "/x?fieldManager=a", "metadata: {name: x}", applyYAML, 400, "invalid object type"},
		{"other type", "/x?fieldManager=a", "apiVersion: v1\nkind: Secret", applyYAML, 400, "invalid object type: /v1, Kind=Secret"},
		{"not YAML", "/x?fieldManager=a", "a: b: c", applyYAML, 400, "error decoding patch"},
		{"no object", "/x?fieldManager=a", "null", applyYAML, 400, "error decoding patch"},
		{"managed fields", "/x?fieldManager=a", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, managedFields: [{manager: a}]}",
			applyYAML, 400, "metadata.managedFields must be nil"},
		{"unknown field", "/x?fieldManager=a", appliedMap("x") + "foo: 1\n", applyYAML, 500, "field not declared in schema"},
		{"duplicate field", "/x?fieldManager=a&fieldValidation=Strict", appliedMap("x", "k", "1") + "data: {k: z}\n", applyYAML, 400,
			"error strict decoding patch"},
		{"other name", "/x?fieldManager=a", appliedMap("other", "k", "1"), applyYAML, 400, "does not match the name"},
		{"other name of a new one", "/z?fieldManager=a", appliedMap("other", "k", "1"), applyYAML, 400, "does not match the name"},
		{"generated name", "/z?fieldManager=a", "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: x}", applyYAML, 400, "undeterminable"},
		{"stale", "/x?fieldManager=a", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, resourceVersion: \"1\"}", applyYAML, 409, "modified"},
		{"UID of nothing", "/z?fieldManager=a", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: z, uid: u}", applyYAML, 409, "uid mismatch"},
		{"other UID", "/x?fieldManager=a", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, uid: u}", applyYAML, 409, "Precondition failed"},
		{"invalid", "/x?fieldManager=a", appliedMap("x", "a/b", "1"), applyYAML, 422, "data[a/b]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := c.must("PATCH", configMaps+tc.path, tc.body, tc.code, "Content-Type", tc.contentType).status(t)
			if !strings.Contains(s.Message, tc.message) {
				t.Errorf("message %q does not contain %q", s.Message, tc.message)
			}
		})
	}
}

// An apply that creates needs the right to create.
func TestApplyIsAuthorizedAsACreateToo(t *testing.T) {
	c := newCluster(t)
	c.authz.forbid = func(a auth.Attributes) bool { return a.Verb == "create" }
	if s := c.apply("a", configMaps+"/x", appliedMap("x", "k", "1"), 403).status(t); !strings.Contains(s.Message, "cannot create resource") {
		t.Errorf("message %q", s.Message)
	}
}

func TestUpdatesAreOwned(t *testing.T) {
	c := newCluster(t)
	cm := c.configMap(c.must("POST", configMaps, configMap("x", "1"), 201, "User-Agent", "tool/v1 (linux)"))
	wantOwners(t, cm, `tool Update v1  {"f:data":{".":{},"f:k":{}},"f:metadata":{"f:labels":{".":{},"f:v":{}}}}`)
	cm = c.configMap(c.must("PATCH", configMaps+"/x?fieldManager=other", `{"data":{"k":"2"}}`, 200, "Content-Type", "application/merge-patch+json"))
	wantOwners(t, cm, `other Update v1  {"f:data":{"f:k":{}}}`,
		`tool Update v1  {"f:data":{},"f:metadata":{"f:labels":{".":{},"f:v":{}}}}`)
	if s := c.apply("a", configMaps+"/x", appliedMap("x", "k", "3"), 409).status(t); !strings.Contains(s.Message, `conflict with "other" using v1: .data.k`) {
		t.Errorf("conflict: %q", s.Message)
	}
	// A client that knows nothing of managedFields does not lose them, and an empty list or entry resets them.
	cm = c.configMap(c.must("PUT", configMaps+"/x", configMap("x", "2"), 200, "User-Agent", "tool/v1"))
	if len(cm.ManagedFields) != 2 {
		t.Errorf("after a put: %s", owners(cm))
	}
	cm = c.configMap(c.patch("merge-patch+json", configMaps+"/x", `{"metadata":{"managedFields":[{}]}}`, 200))
	if len(cm.ManagedFields) != 0 {
		t.Errorf("after a reset: %s", owners(cm))
	}
	cm = c.configMap(c.apply("a", configMaps+"/x?force=true", appliedMap("x", "k", "3"), 200))
	if got := owners(cm); !strings.Contains(got, "a Apply v1") || !strings.Contains(got, "before-first-apply Update v1") {
		t.Errorf("after the first apply: %s", got)
	}
}

// What changes nothing writes nothing, whatever its owners' times would be.
func TestOwnersOfWhatChangesNothing(t *testing.T) {
	c := newCluster(t)
	first := c.configMap(c.apply("a", configMaps+"/x", appliedMap("x", "k", "1"), 201))
	rev := c.store.View().Revision()
	c.apply("a", configMaps+"/x", appliedMap("x", "k", "1"), 200)
	c.must("PUT", configMaps+"/x", `{"metadata":{"name":"x"},"data":{"k":"1"}}`, 200)
	c.patch("merge-patch+json", configMaps+"/x", `{"data":{"k":"1"}}`, 200)
	c.apply("b", configMaps+"/x?dryRun=All", appliedMap("x", "l", "1"), 200)
	c.apply("b", configMaps+"/w?dryRun=All", appliedMap("w", "l", "1"), 201)
	if now := c.store.View().Revision(); now != rev {
		t.Errorf("revision %d -> %d", rev, now)
	}
	wantOwners(t, c.configMap(c.must("GET", configMaps+"/x", "", 200)), strings.TrimSpace(owners(first)))
}

func TestOldUpdatesShareAnEntry(t *testing.T) {
	c := newCluster(t)
	c.must("POST", configMaps, configMap("x", "1"), 201)
	var cm *corev1.ConfigMap
	for i := range 15 {
		cm = c.configMap(c.patch("merge-patch+json", fmt.Sprintf("%s/x?fieldManager=m%02d", configMaps, i),
			fmt.Sprintf(`{"data":{"k%02d":"x"}}`, i), 200))
	}
	if len(cm.ManagedFields) != 10 || !strings.Contains(owners(cm), "ancient-changes Update v1") {
		t.Errorf("%d entries:\n%s", len(cm.ManagedFields), owners(cm))
	}
}

// kubectl's client-side apply leaves an annotation, by which its server-side apply takes the fields over.
func TestApplyTakesOverFromClientSideApply(t *testing.T) {
	c := newCluster(t)
	last := `{\"apiVersion\":\"v1\",\"data\":{\"k\":\"1\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"}}`
	c.must("POST", configMaps+"?fieldManager=kubectl-client-side-apply", `{"metadata":{"name":"x","annotations":{`+
		`"kubectl.kubernetes.io/last-applied-configuration":"`+last+`"}},"data":{"k":"1"}}`, 201)
	c.apply("other", configMaps+"/x", appliedMap("x", "k", "2"), 409)
	cm := c.configMap(c.apply("kubectl", configMaps+"/x", appliedMap("x", "k", "2"), 200))
	if cm.Data["k"] != "2" || !strings.Contains(cm.Annotations["kubectl.kubernetes.io/last-applied-configuration"], `"k":"2"`) {
		t.Errorf("data %v, annotations %v", cm.Data, cm.Annotations)
	}
}

// Appliers that write at the same time all come into force, and each owns what it applied.
func TestConcurrentAppliers(t *testing.T) {
	c := newCluster(t)
	const n = 8
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			key := fmt.Sprintf("k%d", i)
			a := c.do("PATCH", fmt.Sprintf("%s/x?fieldManager=m%d", configMaps, i), appliedMap("x", key, "1"), "Content-Type", applyYAML)
			if a.code != 200 && a.code != 201 {
				t.Errorf("%d %s", a.code, a.body)
			}
		})
	}
	wg.Wait()
	cm := c.configMap(c.must("GET", configMaps+"/x", "", 200))
	if len(cm.Data) != n || len(cm.ManagedFields) != n {
		t.Errorf("data %v\n%s", cm.Data, owners(cm))
	}
	// Of two that want the same field to differ, one wins and the other is told so.
	codes := make(chan int, 2)
	for _, m := range []string{"p", "q"} {
		go func() {
			codes <- c.do("PATCH", configMaps+"/w?fieldManager="+m, appliedMap("w", "k", m), "Content-Type", applyYAML).code
		}()
	}
	if a, b := <-codes, <-codes; a+b != 201+409 {
		t.Errorf("answers %d and %d", a, b)
	}
}
