package api_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestCreateGetUpdateDelete(t *testing.T) {
	c := newCluster(t)
	made := c.configMap(c.must("POST", configMaps, configMap("a", "1"), 201))
	if made.UID == "" || made.ResourceVersion == "" || made.CreationTimestamp.IsZero() || made.Namespace != "default" ||
		made.Kind != "ConfigMap" || made.APIVersion != "v1" {
		t.Errorf("created: %+v", made)
	}
	got := c.configMap(c.must("GET", configMaps+"/a", "", 200))
	if diff := cmp.Diff(made, got); diff != "" {
		t.Errorf("got another than was created:\n%s", diff)
	}
	if s := c.must("POST", configMaps, configMap("a", "1"), 409).status(t); s.Reason != metav1.StatusReasonAlreadyExists ||
		s.Message != `configmaps "a" already exists` {
		t.Errorf("create twice: %+v", s)
	}
	changed := c.configMap(c.must("PUT", configMaps+"/a", configMap("a", "2"), 200))
	if changed.Data["k"] != "2" || changed.UID != made.UID || changed.ResourceVersion == made.ResourceVersion ||
		!changed.CreationTimestamp.Equal(&made.CreationTimestamp) {
		t.Errorf("updated: %+v", changed)
	}
	same := c.configMap(c.must("PUT", configMaps+"/a", configMap("a", "2"), 200))
	if same.ResourceVersion != changed.ResourceVersion {
		t.Errorf("an update that changes nothing made revision %s of %s", same.ResourceVersion, changed.ResourceVersion)
	}
	s := c.must("DELETE", configMaps+"/a", "", 200).status(t)
	if s.Status != metav1.StatusSuccess || s.Details.UID != made.UID || s.Details.Kind != "configmaps" {
		t.Errorf("delete: %+v", s)
	}
	if s := c.must("GET", configMaps+"/a", "", 404).status(t); s.Reason != metav1.StatusReasonNotFound ||
		s.Message != `configmaps "a" not found` {
		t.Errorf("get of what is gone: %+v", s)
	}
}

// Each case is refused, and changes nothing.
func TestRefusals(t *testing.T) {
	c := newCluster(t)
	c.must("POST", configMaps, configMap("a", "1"), 201)
	rev := c.store.View().Revision()
	many := `[` + strings.Repeat(`{"op":"test","path":"/kind","value":"ConfigMap"},`, 10000) + `{"op":"test","path":"/kind","value":"ConfigMap"}]`
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i < 'k'; i++ {
		p := string(i - 1)
		bomb += string(i) + ": &" + string(i) + " [" + strings.Repeat("*"+p+",", 8) + "*" + p + "]\n"
	}
	jsonPatch, merge, yaml := "application/json-patch+json", "application/merge-patch+json", "application/yaml"
	for _, tc := range []struct {
		name, method, path, body, contentType string
		code                                  int
		message                               string
	}{
		{"unknown path", "GET", "/nowhere", "", "", 404, "could not find the requested resource"},
		{"unknown kind", "GET", "/api/v1/namespaces/default/unicorns", "", "", 404, "could not find"},
		{"unknown subresource", "GET", configMaps + "/a/status", "", "", 404, "could not find"},
		{"deeper path", "GET", configMaps + "/a/b/c", "", "", 404, "could not find"},
		{"namespaced kind without namespace", "GET", "/api/v1/configmaps/a", "", "", 404, "could not find"},
		{"cluster kind in a namespace", "GET", "/api/v1/namespaces/default/nodes", "", "", 404, "could not find"},
		{"create without namespace", "POST", "/api/v1/configmaps", configMap("b", "1"), "", 405, ""},
		{"post to an object", "POST", configMaps + "/a", configMap("a", "1"), "", 405, ""},
		{"put to a collection", "PUT", configMaps, configMap("a", "1"), "", 405, ""},
		{"method", "OPTIONS", configMaps, "", "", 405, ""},
		{"no body", "POST", configMaps, "", "", 400, "no body"},
		{"not JSON", "POST", configMaps, "{", "", 400, "unexpected end of JSON input"},
		{"wrong kind", "POST", configMaps, `{"kind":"Secret","apiVersion":"v1"}`, "", 400, "does not match the expected kind"},
		{"wrong version", "POST", configMaps, `{"kind":"ConfigMap","apiVersion":"v2"}`, "", 400, "does not match the expected API version"},
		{"wrong type", "POST", configMaps, `{"data":7}`, "", 400, "cannot unmarshal"},
		{"media type", "POST", configMaps, "x", "text/plain", 415, "accepted media types include"},
		{"bad name", "POST", configMaps, configMap("A_b", "1"), "", 422, "metadata.name: Invalid value"},
		{"no name", "POST", configMaps, `{}`, "", 422, "name or generateName is required"},
		{"other namespace", "POST", configMaps, `{"metadata":{"name":"b","namespace":"x"}}`, "", 400, "does not match the namespace"},
		{"missing namespace", "POST", "/api/v1/namespaces/none/configmaps", configMap("b", "1"), "", 404, `namespaces "none" not found`},
		{"create with version", "POST", configMaps, `{"metadata":{"name":"b","resourceVersion":"1"}}`, "", 400, "resourceVersion should not be set"},
		{"unknown field", "POST", configMaps + "?fieldValidation=Strict", `{"metadata":{"name":"b"},"spec":{"foo":1}}`, "", 400,
			`ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "spec"`},
		{"duplicate field", "POST", configMaps + "?fieldValidation=Strict", `{"metadata":{"name":"b","name":"b"}}`, "", 400, `duplicate field "metadata.name"`},
		{"directive", "POST", configMaps + "?fieldValidation=Maybe", configMap("b", "1"), "", 422, "fieldValidation: Unsupported value"},
		{"dry run", "POST", configMaps + "?dryRun=Some", configMap("b", "1"), "", 422, "dryRun: Unsupported value"},
		{"stale version", "PUT", configMaps + "/a", `{"metadata":{"name":"a","resourceVersion":"1"}}`, "", 409, "the object has been modified"},
		{"bad version", "PUT", configMaps + "/a", `{"metadata":{"name":"a","resourceVersion":"x"}}`, "", 422, "resourceVersion"},
		{"other uid", "PUT", configMaps + "/a", `{"metadata":{"name":"a","uid":"x"}}`, "", 409, "Precondition failed"},
		{"other name", "PUT", configMaps + "/a", `{"metadata":{"name":"b"}}`, "", 400, "does not match the name on the URL"},
		{"put of nothing", "PUT", configMaps + "/b", configMap("b", "1"), "", 404, `configmaps "b" not found`},
		{"patch of nothing", "PATCH", configMaps + "/b", "{}", merge, 404, "not found"},
		{"patch type", "PATCH", configMaps + "/a", "{}", "application/json", 415, "accepted media types include"},
		{"apply in CBOR", "PATCH", configMaps + "/a", "{}", "application/apply-patch+cbor", 415, "accepted media types include"},
		{"patch is no patch", "PATCH", configMaps + "/a", "{}", jsonPatch, 400, "error decoding patch"},
		{"patch is no object", "PATCH", configMaps + "/a", "[]", merge, 400, "error decoding patch"},
		{"patch that fails", "PATCH", configMaps + "/a", `[{"op":"test","path":"/data/k","value":"9"}]`, jsonPatch, 422, "test"},
		{"patch too long", "PATCH", configMaps + "/a", many, jsonPatch, 413, "10000"},
		{"patch with stale version", "PATCH", configMaps + "/a", `{"metadata":{"resourceVersion":"1"},"data":{"x":"y"}}`, merge, 409, "modified"},
		{"patch unknown field", "PATCH", configMaps + "/a?fieldValidation=Strict", `{"foo":1}`, merge, 422, `strict decoding error: unknown field "foo"`},
		{"patch of the name", "PATCH", configMaps + "/a", `{"metadata":{"name":"z"}}`, merge, 400, "does not match the name"},
		{"label selector", "GET", configMaps + "?labelSelector=%21%21", "", "", 400, "unable to parse requirement"},
		{"field selector", "GET", configMaps + "?fieldSelector=spec.x%3D1", "", "", 400, "field label not supported: spec.x"},
		{"continue", "GET", configMaps + "?continue=x", "", "", 400, "continue key is not valid"},
		{"limit", "GET", configMaps + "?limit=x", "", "", 400, "invalid syntax"},
		{"delete with other uid", "DELETE", configMaps + "/a", `{"preconditions":{"uid":"x"}}`, "", 409, "Precondition failed"},
		{"delete with both policies", "DELETE", configMaps + "/a", `{"orphanDependents":true,"propagationPolicy":"Orphan"}`, "", 422, "orphanDependents"},
		{"immortal namespace", "DELETE", "/api/v1/namespaces/default", "", "", 403, "may not be deleted"},
		{"alias bomb", "POST", configMaps, bomb, yaml, 400, "excessive aliasing"},
		{"deep JSON", "POST", configMaps, `{"data":` + strings.Repeat("[", 100000), "", 400, "depth"},
		{"deep YAML", "POST", configMaps, strings.Repeat("[", 100000), yaml, 400, "depth"},
		{"protobuf without magic", "POST", configMaps, "xxxx", "application/vnd.kubernetes.protobuf", 400, "protobuf"},
		{"too large", "POST", configMaps, `{"data":{"k":"` + strings.Repeat("x", 3<<20) + `"}}`, "", 413, "limit is"},
		{"url", "GET", "/api/v1/" + strings.Repeat("x", 65<<10), "", "", 414, "longer than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			headers := []string{}
			if tc.contentType != "" {
				headers = []string{"Content-Type", tc.contentType}
			}
			a := c.do(tc.method, tc.path, tc.body, headers...)
			s := a.status(t)
			if a.code != tc.code || int(s.Code) != tc.code || s.Status != metav1.StatusFailure || s.Kind != "Status" || s.Reason == "" {
				t.Errorf("got %d %.400s", a.code, a.body)
			}
			if !strings.Contains(s.Message, tc.message) {
				t.Errorf("message %.300q does not contain %q", s.Message, tc.message)
			}
		})
	}
	if now := c.store.View().Revision(); now != rev {
		t.Errorf("refused requests changed the state: revision %d -> %d", rev, now)
	}
}

func TestGenerateName(t *testing.T) {
	c := newCluster(t)
	seen := map[string]bool{}
	for range 20 {
		cm := c.configMap(c.must("POST", configMaps, `{"metadata":{"generateName":"a-"}}`, 201))
		if seen[cm.Name] || !strings.HasPrefix(cm.Name, "a-") || len(cm.Name) != 7 {
			t.Errorf("generated %q", cm.Name)
		}
		seen[cm.Name] = true
	}
	long := c.configMap(c.must("POST", configMaps, `{"metadata":{"generateName":"`+strings.Repeat("x", 80)+`"}}`, 201))
	if len(long.Name) != 63 {
		t.Errorf("generated a name of %d letters", len(long.Name))
	}
}

func TestWarningsOnUnknownFields(t *testing.T) {
	c := newCluster(t)
	a := c.must("POST", configMaps, `{"metadata":{"name":"a"},"spec":{"foo":1},"data":{},"data":{}}`, 201)
	want := []string{`299 - "duplicate field \"data\""`, `299 - "unknown field \"spec\""`}
	got := a.header.Values("Warning")
	if len(got) != 2 || !strings.Contains(strings.Join(got, "\n"), want[0]) || !strings.Contains(strings.Join(got, "\n"), want[1]) {
		t.Errorf("warnings %q, want %q", got, want)
	}
	if a := c.must("POST", configMaps+"?fieldValidation=Ignore", `{"metadata":{"name":"b"},"x":1}`, 201); a.header.Get("Warning") != "" {
		t.Errorf("warned: %q", a.header.Get("Warning"))
	}
	if a := c.patch("merge-patch+json", configMaps+"/a", `{"foo":1}`, 200); a.header.Get("Warning") != `299 - "unknown field \"foo\""` {
		t.Errorf("patch warned %q", a.header.Values("Warning"))
	}
}

func TestPatches(t *testing.T) {
	c := newCluster(t)
	c.must("POST", pods, podBody("p", ""), 201)
	for _, tc := range []struct{ kind, body string }{
		{"strategic-merge-patch+json", `{"spec":{"containers":[{"name":"c","image":"strategic"}]}}`},
		{"json-patch+json", `[{"op":"replace","path":"/spec/containers/0/image","value":"json"}]`},
		{"merge-patch+json", `{"metadata":{"labels":{"a":"b"}}}`},
	} {
		var pod corev1.Pod
		c.patch(tc.kind, pods+"/p", tc.body, 200).decode(t, &pod)
		if len(pod.Spec.Containers) != 1 || pod.Spec.Containers[0].Name != "c" {
			t.Fatalf("%s: %+v", tc.kind, pod.Spec.Containers)
		}
		if want, _, _ := strings.Cut(tc.kind, "-"); want != "merge" && pod.Spec.Containers[0].Image != want {
			t.Errorf("%s: image %q", tc.kind, pod.Spec.Containers[0].Image)
		}
	}
	var pod corev1.Pod
	c.must("GET", pods+"/p", "", 200).decode(t, &pod)
	if pod.Labels["a"] != "b" || pod.Generation != 3 {
		t.Errorf("labels %v, generation %d", pod.Labels, pod.Generation)
	}
}

// Concurrent patches of one object all come into force.
func TestConcurrentPatches(t *testing.T) {
	c := newCluster(t)
	c.must("POST", configMaps, configMap("a", "1"), 201)
	const n = 8
	done := make(chan answer, n)
	for i := range n {
		key := string(rune('a' + i))
		go func() {
			done <- c.do("PATCH", configMaps+"/a", `{"data":{"p`+key+`":"x"}}`, "Content-Type", "application/merge-patch+json")
		}()
	}
	for range n {
		if a := <-done; a.code != 200 {
			t.Errorf("%d %s", a.code, a.body)
		}
	}
	if cm := c.configMap(c.must("GET", configMaps+"/a", "", 200)); len(cm.Data) != n+1 {
		t.Errorf("data: %v", cm.Data)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	c := newCluster(t)
	c.must("POST", configMaps, configMap("a", "1"), 201)
	rev := c.store.View().Revision()
	if cm := c.configMap(c.must("POST", configMaps+"?dryRun=All", configMap("b", "1"), 201)); cm.UID == "" || cm.ResourceVersion != "" {
		t.Errorf("dry create: %+v", cm)
	}
	c.must("POST", configMaps+"?dryRun=All", configMap("a", "1"), 409)
	if cm := c.configMap(c.must("PUT", configMaps+"/a?dryRun=All", configMap("a", "2"), 200)); cm.Data["k"] != "2" {
		t.Errorf("dry update: %+v", cm)
	}
	c.must("PATCH", configMaps+"/a?dryRun=All", `{"data":{"k":"3"}}`, 200, "Content-Type", "application/merge-patch+json")
	c.must("DELETE", configMaps+"/a?dryRun=All", "", 200)
	c.must("DELETE", configMaps+"/a", `{"dryRun":["All"]}`, 200)
	c.must("DELETE", configMaps+"?dryRun=All", "", 200)
	c.must("POST", services+"?dryRun=All", `{"metadata":{"name":"s"},"spec":{"ports":[{"port":80}],"clusterIP":"10.43.0.7"}}`, 201)
	if now := c.store.View().Revision(); now != rev {
		t.Errorf("revision %d -> %d", rev, now)
	}
	c.must("POST", services, `{"metadata":{"name":"s"},"spec":{"ports":[{"port":80}],"clusterIP":"10.43.0.7"}}`, 201)
}
