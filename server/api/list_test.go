package api_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

const asTable = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"

func (c *cluster) names(path string) string {
	c.t.Helper()
	var l corev1.ConfigMapList
	c.must("GET", path, "", 200).decode(c.t, &l)
	var names []string
	for _, cm := range l.Items {
		names = append(names, cm.Name)
	}
	return strings.Join(names, " ")
}

func TestListSelects(t *testing.T) {
	c := newCluster(t)
	c.must("POST", "/api/v1/namespaces", `{"metadata":{"name":"other"}}`, 201)
	for i, name := range []string{"c", "a", "b"} {
		c.must("POST", configMaps, configMap(name, strconv.Itoa(i)), 201)
	}
	c.must("POST", "/api/v1/namespaces/other/configmaps", configMap("z", "0"), 201)
	for path, want := range map[string]string{
		configMaps:                                                           "a b c",
		"/api/v1/configmaps":                                                 "a b c z",
		configMaps + "?limit=0":                                              "a b c",
		configMaps + "?labelSelector=v%3D1":                                  "a",
		configMaps + "?labelSelector=v+in+(0,2)":                             "b c",
		configMaps + "?labelSelector=v%21%3D1":                               "b c",
		"/api/v1/configmaps?labelSelector=v%3D0":                             "c z",
		"/api/v1/configmaps?fieldSelector=metadata.namespace%3Dother":        "z",
		configMaps + "?fieldSelector=metadata.name%3Db":                      "b",
		configMaps + "?fieldSelector=metadata.name%3Dnone":                   "",
		configMaps + "?fieldSelector=metadata.name%21%3Db&resourceVersion=0": "a c",
	} {
		if got := c.names(path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

func TestListByIndexedField(t *testing.T) {
	c := newCluster(t)
	for name, node := range map[string]string{"a": "n1", "b": "n2", "c": "n1", "d": ""} {
		c.must("POST", pods, podBody(name, `"nodeName":"`+node+`",`), 201)
	}
	for selector, want := range map[string]string{"spec.nodeName%3Dn1": "a c", "spec.nodeName%3D": "d", "spec.nodeName%21%3Dn1": "b d"} {
		if got := c.names("/api/v1/pods?fieldSelector=" + selector); got != want {
			t.Errorf("%s: got %q, want %q", selector, got, want)
		}
	}
}

// All pages share one revision, whatever is written between them.
func TestListInPages(t *testing.T) {
	c := newCluster(t)
	for i := range 5 {
		c.must("POST", configMaps, configMap(fmt.Sprintf("m%d", i), "1"), 201)
	}
	var names []string
	var revision, token string
	for page := 0; ; page++ {
		var l corev1.ConfigMapList
		c.must("GET", configMaps+"?limit=2&continue="+token, "", 200).decode(t, &l)
		if page == 0 {
			revision = l.ResourceVersion
			if l.RemainingItemCount == nil || *l.RemainingItemCount != 3 {
				t.Errorf("remaining: %v", l.RemainingItemCount)
			}
		} else if l.ResourceVersion != revision {
			t.Errorf("page %d is of revision %s, not %s", page, l.ResourceVersion, revision)
		}
		for _, cm := range l.Items {
			names = append(names, cm.Name)
		}
		if token = l.Continue; token == "" {
			break
		}
		c.must("DELETE", configMaps+"/m"+strconv.Itoa(4-page), "", 200)
		c.must("POST", configMaps, configMap("m0"+strconv.Itoa(page), "1"), 201)
	}
	if diff := cmp.Diff([]string{"m0", "m1", "m2", "m3", "m4"}, names); diff != "" {
		t.Error(diff)
	}
}

// A page taken on one server goes on on any other. When its revision is gone, the answer offers the rest of the list at
// the newest one.
func TestContinueElsewhereAndTooLate(t *testing.T) {
	c := newClusterOf(t, fsm.New(kinds.Builtin().Schema(), 2))
	c.url = serve(t, newHTTP(c.handler()))
	c.must("POST", "/api/v1/namespaces", `{"metadata":{"name":"default"}}`, 201)
	for _, n := range []string{"a", "c"} {
		c.must("POST", configMaps, configMap(n, "1"), 201)
	}
	var l corev1.ConfigMapList
	c.must("GET", configMaps+"?limit=1", "", 200).decode(t, &l)
	other := newClusterOf(t, c.store)
	other.url = serve(t, newHTTP(other.handler()))
	c.must("POST", configMaps, configMap("b", "1"), 201)
	if got := other.names(configMaps + "?limit=1&continue=" + l.Continue); got != "c" {
		t.Errorf("the second page: %q", got)
	}
	for i := range 4 {
		c.patch("merge-patch+json", configMaps+"/c", fmt.Sprintf(`{"data":{"k":"x%d"}}`, i), 200)
	}
	s := other.must("GET", configMaps+"?limit=1&continue="+l.Continue, "", 410).status(t)
	if s.Reason != metav1.StatusReasonExpired || s.Continue == "" {
		t.Errorf("%+v", s)
	}
	if got := other.names(configMaps + "?continue=" + s.Continue); got != "b c" {
		t.Errorf("the rest at the newest revision: %q", got)
	}
}

func TestRevisionsOfReads(t *testing.T) {
	c := newCluster(t)
	c.must("POST", configMaps, configMap("a", "1"), 201)
	c.must("GET", configMaps+"/a?resourceVersion=2", "", 200)
	c.must("GET", configMaps+"?resourceVersion=1&resourceVersionMatch=NotOlderThan", "", 200)
	if got := c.names(configMaps + "?resourceVersion=1&resourceVersionMatch=Exact"); got != "" {
		t.Errorf("before anything was there: %q", got)
	}
	if got := c.names(configMaps + "?resourceVersion=2&resourceVersionMatch=Exact"); got != "a" {
		t.Errorf("at its creation: %q", got)
	}
	c.must("GET", configMaps+"?resourceVersion=x", "", 400)
	c.must("GET", configMaps+"/a?resourceVersion=-1", "", 400)
	if s := c.must("GET", configMaps+"?resourceVersionMatch=Exact", "", 422).status(t); s.Reason != metav1.StatusReasonInvalid || s.Details.Kind != "ListOptions" {
		t.Errorf("%+v", s)
	}
	s := c.must("GET", configMaps+"?resourceVersion=99&timeout=50ms", "", 504).status(t)
	if s.Details == nil || s.Details.RetryAfterSeconds != 1 || len(s.Details.Causes) != 1 || s.Details.Causes[0].Type != metav1.CauseTypeResourceVersionTooLarge {
		t.Errorf("%+v", s)
	}
}

func TestTables(t *testing.T) {
	c := newCluster(t)
	c.must("POST", configMaps, configMap("a", "1"), 201)
	for _, path := range []string{configMaps, configMaps + "/a"} {
		a := c.must("GET", path, "", 200, "Accept", asTable)
		var table metav1.Table
		a.decode(t, &table)
		if table.Kind != "Table" || table.APIVersion != "meta.k8s.io/v1" || table.ResourceVersion == "" || len(table.Rows) != 1 ||
			table.ColumnDefinitions[0].Name != "Name" || table.Rows[0].Cells[0] != "a" || table.Rows[0].Cells[1] != 1.0 {
			t.Errorf("%s: %s", path, a.body)
		}
		var meta metav1.PartialObjectMetadata
		if err := json.Unmarshal(table.Rows[0].Object.Raw, &meta); err != nil || meta.Kind != "PartialObjectMetadata" || meta.Name != "a" {
			t.Errorf("row's object: %s (%v)", table.Rows[0].Object.Raw, err)
		}
	}
	var table metav1.Table
	c.must("GET", configMaps+"?includeObject=Object", "", 200, "Accept", asTable).decode(t, &table)
	if !strings.Contains(string(table.Rows[0].Object.Raw), `"kind":"ConfigMap"`) {
		t.Errorf("row's object: %s", table.Rows[0].Object.Raw)
	}
	c.must("GET", configMaps+"?includeObject=x", "", 400, "Accept", asTable)
	if s := c.must("GET", configMaps+"/none", "", 404, "Accept", asTable).status(t); s.Kind != "Status" {
		t.Errorf("an error as a table: %+v", s)
	}
}

func TestPartialMetadata(t *testing.T) {
	c := newCluster(t)
	c.must("POST", configMaps, configMap("a", "1"), 201)
	var list metav1.PartialObjectMetadataList
	c.must("GET", configMaps, "", 200, "Accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").decode(t, &list)
	if list.Kind != "PartialObjectMetadataList" || len(list.Items) != 1 || list.Items[0].Name != "a" {
		t.Errorf("%+v", list)
	}
	a := c.must("GET", configMaps+"/a", "", 200, "Accept", "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
	var one metav1.PartialObjectMetadata
	unwrap(t, a.body, "PartialObjectMetadata", &one)
	if one.Name != "a" {
		t.Errorf("%+v", one)
	}
}

func TestNegotiation(t *testing.T) {
	c := newCluster(t)
	c.must("POST", configMaps, configMap("a", "1"), 201)
	for accept, want := range map[string]string{
		"":                 "application/json",
		"*/*":              "application/json",
		"application/yaml": "application/yaml",
		"application/json;q=0.5,application/yaml":                                          "application/yaml",
		"application/vnd.kubernetes.protobuf,application/json":                             "application/vnd.kubernetes.protobuf",
		"application/cbor,application/json":                                                "application/json",
		"application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json": "application/json",
		"application/json;as=Nothing;v=v1;g=meta.k8s.io,application/yaml":                  "application/yaml",
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8":       "application/json",
	} {
		if a := c.must("GET", configMaps, "", 200, "Accept", accept); a.header.Get("Content-Type") != want {
			t.Errorf("Accept %q: got %q, want %q", accept, a.header.Get("Content-Type"), want)
		}
	}
	c.must("GET", configMaps, "", 406, "Accept", "text/html")
	c.must("GET", configMaps+"?watch=1", "", 406, "Accept", "application/yaml")
	var cm corev1.ConfigMap
	a := c.must("GET", configMaps+"/a", "", 200, "Accept", "application/yaml")
	if err := yaml.UnmarshalStrict(a.body, &cm); err != nil || cm.Name != "a" {
		t.Errorf("%s: %v", a.body, err)
	}
	c.must("POST", configMaps, "metadata: {name: yy}\ndata: {k: v}\n", 201, "Content-Type", "application/yaml")
	c.must("POST", configMaps+"?fieldValidation=Strict", "metadata: {name: zz}\ndata: {k: v}\ndata: {k: v}\n", 400, "Content-Type", "application/yaml")
}

func TestLargeAnswersAreCompressed(t *testing.T) {
	c := newCluster(t)
	for i := range 3 {
		c.must("POST", configMaps, `{"metadata":{"name":"m`+strconv.Itoa(i)+`"},"data":{"k":"`+strings.Repeat("x", 100<<10)+`"}}`, 201)
	}
	a := c.must("GET", configMaps, "", 200, "Accept-Encoding", "gzip")
	if a.header.Get("Content-Encoding") != "gzip" || len(a.body) > 100<<10 {
		t.Errorf("%d bytes, encoding %q", len(a.body), a.header.Get("Content-Encoding"))
	}
	if a := c.must("GET", configMaps+"/m0", "", 200, "Accept-Encoding", "gzip"); a.header.Get("Content-Encoding") != "" {
		t.Error("a small answer was compressed")
	}
}

// Every kind's objects and lists come out of JSON and protobuf as they went in: the list is made of cached bytes, so
// this also holds the protobuf numbers that encode.go assumes.
func TestEncodingsOfEveryKind(t *testing.T) {
	c := newCluster(t)
	for _, k := range kinds.Builtin().All() {
		v := k.New()
		v.SetName("x")
		path := "/api/v1/"
		if k.GVK.Group != "" {
			path = "/apis/" + k.GVK.GroupVersion().String() + "/"
		}
		if k.Namespaced {
			v.SetNamespace("default")
			path += "namespaces/default/"
		}
		path += k.Resource
		v.SetUID("u")
		raw, err := k.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		c.put(k, v.GetNamespace(), "x", raw)
		fromJSON, fromProto := k.NewList(), k.NewList()
		c.must("GET", path+"?fieldSelector=metadata.name%3Dx", "", 200).decode(t, fromJSON)
		a := c.must("GET", path+"?fieldSelector=metadata.name%3Dx", "", 200, "Accept", "application/vnd.kubernetes.protobuf")
		unwrap(t, a.body, k.GVK.Kind+"List", fromProto.(interface{ Unmarshal([]byte) error }))
		j, p := items(t, fromJSON), items(t, fromProto)
		if len(j) != 1 || len(p) != 1 || j[0] != "x u" || p[0] != "x u" {
			t.Errorf("%s: json %v, protobuf %v", k.GVK.Kind, j, p)
		}
		one := k.New()
		a = c.must("GET", path+"/x", "", 200, "Accept", "application/vnd.kubernetes.protobuf")
		unwrap(t, a.body, k.GVK.Kind, one.(interface{ Unmarshal([]byte) error }))
		if one.GetUID() != "u" || one.GetResourceVersion() == "" {
			t.Errorf("%s: %+v", k.GVK.Kind, one)
		}
	}
}

func items(t *testing.T, l runtime.Object) []string {
	t.Helper()
	data, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	var list metav1.PartialObjectMetadataList
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range list.Items {
		all = append(all, m.Name+" "+string(m.UID))
	}
	return all
}

func TestProtobufBodies(t *testing.T) {
	c := newCluster(t)
	cm := corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Data: map[string]string{"k": "v"}}
	raw, err := cm.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, Raw: raw}
	data, err := u.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	const proto = "application/vnd.kubernetes.protobuf"
	a := c.must("POST", configMaps, "k8s\x00"+string(data), 201, "Content-Type", proto, "Accept", proto)
	var got corev1.ConfigMap
	unwrap(t, a.body, "ConfigMap", &got)
	if got.Data["k"] != "v" || got.UID == "" {
		t.Errorf("%+v", got)
	}
	var s metav1.Status
	unwrap(t, c.must("POST", configMaps, "k8s\x00"+string(data), 409, "Content-Type", proto, "Accept", proto).body, "Status", &s)
	if s.Reason != metav1.StatusReasonAlreadyExists {
		t.Errorf("%+v", s)
	}
	c.must("POST", pods, "k8s\x00"+string(data), 400, "Content-Type", proto)
}
