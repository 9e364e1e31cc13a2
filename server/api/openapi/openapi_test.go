package openapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	openapiv2 "github.com/google/gnostic-models/openapiv2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/holt-project/holt/server/api/openapi"
	"github.com/holt-project/holt/server/kinds"
)

func docs(t *testing.T) *openapi.Docs {
	t.Helper()
	d, err := openapi.New(kinds.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func get(t *testing.T, d *openapi.Docs, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

func decode(t *testing.T, w *httptest.ResponseRecorder, into any) {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		t.Fatal(err)
	}
}

// index returns the URLs of the documents of version 3 by their paths.
func index(t *testing.T, d *openapi.Docs) map[string]string {
	t.Helper()
	var body struct {
		Paths map[string]struct {
			URL string `json:"serverRelativeURL"`
		}
	}
	decode(t, get(t, d, "/openapi/v3"), &body)
	urls := map[string]string{}
	for path, entry := range body.Paths {
		urls[path] = entry.URL
	}
	return urls
}

func pathOf(gv schema.GroupVersion) string {
	if gv.Group == "" {
		return "api/" + gv.Version
	}
	return "apis/" + gv.String()
}

func version3(t *testing.T, d *openapi.Docs, gv schema.GroupVersion) *spec3.OpenAPI {
	t.Helper()
	doc := &spec3.OpenAPI{}
	decode(t, get(t, d, index(t, d)[pathOf(gv)]), doc)
	return doc
}

// gvkOf reads the extension of an operation, as kubectl does.
func gvkOf(t *testing.T, extensions spec.Extensions) schema.GroupVersionKind {
	t.Helper()
	var gvk map[string]string
	if err := extensions.GetObject("x-kubernetes-group-version-kind", &gvk); err != nil {
		t.Fatal(err)
	}
	return schema.GroupVersionKind{Group: gvk["group"], Version: gvk["version"], Kind: gvk["kind"]}
}

// kubectl sends fieldValidation and dryRun only to a server whose patch of the kind has them, and looks at whichever
// patch of the kind it finds first.
func TestEveryPatchHasWhatKubectlLooksFor(t *testing.T) {
	d := docs(t)
	for _, k := range kinds.Builtin().Served() {
		patches := 0
		for path, item := range version3(t, d, k.GVK.GroupVersion()).Paths.Paths {
			if item.Patch == nil || gvkOf(t, item.Patch.Extensions) != k.GVK {
				continue
			}
			patches++
			found := map[string]bool{}
			for _, p := range item.Patch.Parameters {
				if p.In == "query" {
					found[p.Name] = true
				}
			}
			for _, name := range []string{"fieldValidation", "dryRun", "fieldManager", "force"} {
				if !found[name] {
					t.Errorf("patch of %s lacks %s", path, name)
				}
			}
		}
		if patches == 0 {
			t.Errorf("%s has no patch", k.GVK)
		}
	}
}

// kubectl explain finds a resource's kind at its path, and the schema by the kind.
func TestEveryKindCanBeExplained(t *testing.T) {
	d := docs(t)
	for _, k := range kinds.Builtin().Served() {
		doc := version3(t, d, k.GVK.GroupVersion())
		path := "/" + pathOf(k.GVK.GroupVersion()) + "/" + k.Resource
		item := doc.Paths.Paths[path]
		if item == nil || item.Get == nil {
			t.Errorf("no %s", path)
			continue
		}
		if got := gvkOf(t, item.Get.Extensions); got != k.GVK {
			t.Errorf("%s is of %s", path, got)
		}
		var found *spec.Schema
		for _, s := range doc.Components.Schemas {
			var gvks []map[string]string
			if err := s.Extensions.GetObject("x-kubernetes-group-version-kind", &gvks); err != nil {
				continue
			}
			for _, gvk := range gvks {
				if gvk["group"] == k.GVK.Group && gvk["version"] == k.GVK.Version && gvk["kind"] == k.GVK.Kind {
					found = s
				}
			}
		}
		if found == nil || found.Description == "" || found.Properties["metadata"].AllOf == nil {
			t.Errorf("schema of %s: %+v", k.GVK, found)
		}
	}
}

// references collects the targets of all references in a document.
func references(value any, into map[string]bool) {
	switch v := value.(type) {
	case map[string]any:
		for key, child := range v {
			if target, ok := child.(string); ok && key == "$ref" {
				into[target] = true
			}
			references(child, into)
		}
	case []any:
		for _, child := range v {
			references(child, into)
		}
	}
}

func TestReferencesResolve(t *testing.T) {
	d := docs(t)
	urls := map[string]string{"v2": "/openapi/v2"}
	for path, url := range index(t, d) {
		urls[path] = url
	}
	for name, url := range urls {
		var doc map[string]any
		decode(t, get(t, d, url), &doc)
		targets := map[string]bool{}
		references(doc, targets)
		if len(targets) == 0 {
			t.Errorf("%s refers to nothing", name)
		}
		for target := range targets {
			var at any = doc
			for _, step := range strings.Split(strings.TrimPrefix(target, "#/"), "/") {
				m, _ := at.(map[string]any)
				at = m[step]
			}
			if at == nil {
				t.Errorf("%s: %s is nowhere", name, target)
			}
		}
	}
}

func TestOperationsHaveNamesOfTheirOwn(t *testing.T) {
	var doc spec.Swagger
	decode(t, get(t, docs(t), "/openapi/v2"), &doc)
	seen := map[string]string{}
	for path, item := range doc.Paths.Paths {
		for _, op := range []*spec.Operation{item.Get, item.Put, item.Post, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			if other := seen[op.ID]; other != "" {
				t.Errorf("%s is at %s and %s", op.ID, other, path)
			}
			seen[op.ID] = path
		}
	}
	for id, path := range map[string]string{
		"listCoreV1PodForAllNamespaces":            "/api/v1/pods",
		"readCoreV1NamespacedPod":                  "/api/v1/namespaces/{namespace}/pods/{name}",
		"readCoreV1NamespacedPodLog":               "/api/v1/namespaces/{namespace}/pods/{name}/log",
		"createCoreV1NamespacedPodBinding":         "/api/v1/namespaces/{namespace}/pods/{name}/binding",
		"patchAppsV1NamespacedDeploymentScale":     "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale",
		"replaceCoreV1NamespaceFinalize":           "/api/v1/namespaces/{name}/finalize",
		"deleteCoreV1CollectionNode":               "/api/v1/nodes",
		"deleteDiscoveryV1NamespacedEndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{name}",
	} {
		if seen[id] != path {
			t.Errorf("%s is at %q, want %q", id, seen[id], path)
		}
	}
}

func TestSchemas(t *testing.T) {
	d := docs(t)
	var v2 struct{ Definitions map[string]any }
	decode(t, get(t, d, "/openapi/v2"), &v2)
	var v3 struct {
		Components struct{ Schemas map[string]any }
	}
	decode(t, get(t, d, index(t, d)["apis/apps/v1"]), &v3)
	intOrString := "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
	at := func(from any, steps ...string) any {
		for _, step := range steps {
			m, _ := from.(map[string]any)
			from = m[step]
		}
		return from
	}
	without := func(value any) any {
		m, _ := value.(map[string]any)
		delete(m, "description")
		return m
	}
	for name, test := range map[string]struct {
		got  any
		want string
	}{
		"number or text, 2": {at(v2.Definitions, intOrString), `{"type":"string","format":"int-or-string","x-kubernetes-int-or-string":true}`},
		"number or text, 3": {at(v3.Components.Schemas, intOrString), `{"oneOf":[{"type":"integer"},{"type":"string"}],"format":"int-or-string","x-kubernetes-int-or-string":true}`},
		"quantity":          {at(v3.Components.Schemas, "io.k8s.apimachinery.pkg.api.resource.Quantity"), `{"oneOf":[{"type":"string"},{"type":"number"}]}`},
		"time":              {at(v2.Definitions, "io.k8s.apimachinery.pkg.apis.meta.v1.Time"), `{"type":"string","format":"date-time"}`},
		"bytes":             {at(v2.Definitions, "io.k8s.api.core.v1.Secret", "properties", "data"), `{"type":"object","additionalProperties":{"type":"string","format":"byte"}}`},
		"fields":            {at(v2.Definitions, "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"), `{"type":"object"}`},
		"merged list": {at(v2.Definitions, "io.k8s.api.core.v1.PodSpec", "properties", "volumes"),
			`{"type":"array","items":{"$ref":"#/definitions/io.k8s.api.core.v1.Volume"},"x-kubernetes-patch-strategy":"merge,retainKeys","x-kubernetes-patch-merge-key":"name"}`},
		"embedded": {at(v2.Definitions, "io.k8s.api.core.v1.Probe", "properties", "exec"), `{"$ref":"#/definitions/io.k8s.api.core.v1.ExecAction"}`},
		"reference, 3": {at(v3.Components.Schemas, "io.k8s.api.apps.v1.DeploymentSpec", "properties", "strategy"),
			`{"allOf":[{"$ref":"#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy"}],"x-kubernetes-patch-strategy":"retainKeys"}`},
		"required": {map[string]any{"required": at(v2.Definitions, "io.k8s.api.apps.v1.DeploymentSpec", "required")}, `{"required":["selector","template"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			var want any
			if err := json.Unmarshal([]byte(test.want), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, without(test.got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestProtobufIsTheSameDocument(t *testing.T) {
	d := docs(t)
	w := get(t, d, "/openapi/v2", "Accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
	var parsed openapiv2.Document
	if err := proto.Unmarshal(w.Body.Bytes(), &parsed); err != nil {
		t.Fatal(err)
	}
	var doc spec.Swagger
	decode(t, get(t, d, "/openapi/v2", "Accept", "application/json"), &doc)
	if got, want := len(parsed.GetDefinitions().GetAdditionalProperties()), len(doc.Definitions); got != want || got == 0 {
		t.Errorf("%d definitions in protobuf, %d in JSON", got, want)
	}
	if got, want := len(parsed.GetPaths().GetPath()), len(doc.Paths.Paths); got != want {
		t.Errorf("%d paths in protobuf, %d in JSON", got, want)
	}
}

func TestHashesAndTags(t *testing.T) {
	d := docs(t)
	url := index(t, d)["api/v1"]
	w := get(t, d, url)
	if !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
		t.Errorf("headers %v", w.Header())
	}
	if again := get(t, d, url, "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Errorf("known: %d", again.Code)
	}
	if old := get(t, d, "/openapi/v3/api/v1?hash=OLD"); old.Code != http.StatusMovedPermanently || old.Header().Get("Location") != url {
		t.Errorf("old: %d %v", old.Code, old.Header())
	}
	if other := docs(t); index(t, other)["api/v1"] != url {
		t.Error("two servers with the same kinds have different hashes")
	}
}

func TestPathsAreServed(t *testing.T) {
	d := docs(t)
	for _, path := range d.Paths() {
		if w := get(t, d, path); w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	for path, code := range map[string]int{"/openapi": 404, "/openapi/v3/apis/none/v1": 404} {
		if w := get(t, d, path); w.Code != code {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if w := get(t, d, "/openapi/v2", "Accept", "text/html"); w.Code != http.StatusNotAcceptable {
		t.Errorf("HTML: %d", w.Code)
	}
}
