package discovery_test

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/holt-project/holt/server/api/discovery"
	"github.com/holt-project/holt/server/kinds"
)

// What kubectl and client-go send.
const clientAccepts = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"

func docs(t *testing.T) *discovery.Docs {
	t.Helper()
	d, err := discovery.New(kinds.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func get(t *testing.T, d *discovery.Docs, path, accept string, into any) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	if into != nil {
		decoder := json.NewDecoder(w.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(into); err != nil {
			t.Fatalf("%s: %d %v", path, w.Code, err)
		}
	}
	return w
}

func TestAggregatedHasEveryKind(t *testing.T) {
	d, found := docs(t), map[schema.GroupVersionResource]apidiscoveryv2.APIResourceDiscovery{}
	for _, root := range []string{"/api", "/apis"} {
		var list apidiscoveryv2.APIGroupDiscoveryList
		w := get(t, d, root, clientAccepts, &list)
		if got := w.Header().Get("Content-Type"); got != "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" {
			t.Error(got)
		}
		if list.Kind != "APIGroupDiscoveryList" || list.APIVersion != "apidiscovery.k8s.io/v2" {
			t.Error(list.TypeMeta)
		}
		for _, g := range list.Items {
			if (g.Name == "") != (root == "/api") {
				t.Errorf("group %q is under %s", g.Name, root)
			}
			for _, v := range g.Versions {
				for _, r := range v.Resources {
					found[schema.GroupVersionResource{Group: g.Name, Version: v.Version, Resource: r.Resource}] = r
				}
			}
		}
	}
	for _, k := range kinds.Builtin().Served() {
		r, ok := found[k.GVR()]
		if !ok {
			t.Errorf("%s is missing", k.GVR())
			continue
		}
		if r.ResponseKind.Kind != k.GVK.Kind || (r.Scope == apidiscoveryv2.ScopeNamespace) != k.Namespaced ||
			len(r.Subresources) != len(k.Subresources) || !slices.Contains(r.Verbs, "watch") {
			t.Errorf("%s: %+v", k.GVR(), r)
		}
	}
}

func TestOlderFormHasEveryKind(t *testing.T) {
	d := docs(t)
	var groups metav1.APIGroupList
	get(t, d, "/apis", "application/json", &groups)
	var versions metav1.APIVersions
	get(t, d, "/api", "", &versions)
	paths := []string{}
	for _, v := range versions.Versions {
		paths = append(paths, "/api/"+v)
	}
	for _, g := range groups.Groups {
		var alone metav1.APIGroup
		get(t, d, "/apis/"+g.Name, "*/*", &alone)
		if alone.Kind != "APIGroup" || alone.PreferredVersion != g.PreferredVersion || len(alone.Versions) == 0 {
			t.Errorf("%+v", alone)
		}
		for _, v := range g.Versions {
			paths = append(paths, "/apis/"+v.GroupVersion)
		}
	}
	found := map[string]bool{}
	for _, path := range paths {
		var list metav1.APIResourceList
		get(t, d, path, "", &list)
		for _, r := range list.APIResources {
			found[list.GroupVersion+"/"+r.Name] = true
		}
	}
	for _, k := range kinds.Builtin().Served() {
		name := k.GVK.GroupVersion().String() + "/" + k.Resource
		if !found[name] {
			t.Errorf("%s is missing", name)
		}
		for sub := range k.Subresources {
			if !found[name+"/"+sub] {
				t.Errorf("%s/%s is missing", name, sub)
			}
		}
	}
}

func TestDeploymentsAsClientsSeeThem(t *testing.T) {
	var list metav1.APIResourceList
	get(t, docs(t), "/apis/apps/v1", "", &list)
	var got []metav1.APIResource
	for _, r := range list.APIResources {
		if strings.HasPrefix(r.Name, "deployments") {
			got = append(got, r)
		}
	}
	want := []metav1.APIResource{
		{Name: "deployments", SingularName: "deployment", Namespaced: true, Kind: "Deployment",
			Verbs:      metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"},
			ShortNames: []string{"deploy"}, Categories: []string{"all"}},
		{Name: "deployments/scale", Namespaced: true, Group: "autoscaling", Version: "v1", Kind: "Scale",
			Verbs: metav1.Verbs{"get", "patch", "update"}},
		{Name: "deployments/status", Namespaced: true, Kind: "Deployment", Verbs: metav1.Verbs{"get", "patch", "update"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestVerbsOfSubresources(t *testing.T) {
	var list metav1.APIResourceList
	get(t, docs(t), "/api/v1", "", &list)
	got := map[string][]string{}
	for _, r := range list.APIResources {
		got[r.Name] = r.Verbs
	}
	for name, want := range map[string][]string{
		"pods/log": {"get"}, "pods/binding": {"create"}, "namespaces/finalize": {"update"}, "nodes/status": {"get", "patch", "update"},
	} {
		if diff := cmp.Diff(want, got[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestPathsAreServed(t *testing.T) {
	d := docs(t)
	for _, path := range d.Paths() {
		w := get(t, d, path, "", nil)
		if w.Code != 200 || w.Header().Get("ETag") == "" || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if len(d.Paths()) < 5 {
		t.Error(d.Paths())
	}
}

func TestRefusals(t *testing.T) {
	d := docs(t)
	for _, test := range []struct {
		path, accept string
		code         int
	}{
		{"/apis/none", "", 404}, {"/apis/apps/v2", "", 404}, {"/api/v1", "application/cbor", 406},
		{"/api", "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList", 406},
		{"/api/v1", clientAccepts, 200}, {"/api/", "", 200},
	} {
		if w := get(t, d, test.path, test.accept, nil); w.Code != test.code {
			t.Errorf("%s %s: %d, want %d", test.path, test.accept, w.Code, test.code)
		}
	}
}

func TestPreferredVersions(t *testing.T) {
	var g metav1.APIGroup
	get(t, docs(t), "/apis/autoscaling", "application/json", &g)
	var versions []string
	for _, v := range g.Versions {
		versions = append(versions, v.Version)
	}
	if g.PreferredVersion.Version != "v2" || !slices.Equal(versions, []string{"v2", "v1"}) {
		t.Errorf("%+v", g)
	}
}
