package api_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

// Whatever a client sends, the answer is its own fault or a success: never a panic or an internal error. Bodies, patches,
// selectors, continue tokens and options all go through here.
func FuzzRequest(f *testing.F) {
	merge, jsonPatch, yaml := "application/merge-patch+json", "application/json-patch+json", "application/yaml"
	strategic, proto := "application/strategic-merge-patch+json", "application/vnd.kubernetes.protobuf"
	for _, s := range [][4]string{
		{"POST", "", "", configMap("b", "1")}, {"POST", "dryRun=All", yaml, "metadata: {name: b}\ndata: {a: &x b, c: *x}"},
		{"POST", "fieldValidation=Strict", proto, "k8s\x00\n\x0f\n\x02v1\x12\tConfigMap\x12\x05\n\x03\n\x01p\x1a\x00\"\x00"},
		{"PUT", "", "", configMap("a", "2")}, {"PATCH", "", merge, `{"data":{"k":null}}`}, {"PATCH", "", strategic, `{"data":{"$patch":"delete"}}`},
		{"PATCH", "", strategic, `{"metadata":{"finalizers":["a/b"],"$deleteFromPrimitiveList/finalizers":["c/d"]}}`},
		{"PATCH", "", jsonPatch, `[{"op":"copy","from":"/data","path":"/metadata/labels"},{"op":"remove","path":"/data/k"}]`},
		{"PATCH", "fieldManager=f", applyYAML, appliedMap("a", "k", "2")}, {"PATCH", "fieldManager=f&force=1&fieldValidation=Strict", applyYAML, appliedMap("a", "k", "2")},
		{"PATCH", "fieldManager=f&force=true", applyYAML, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {x: null}, ownerReferences: [{uid: a}, {uid: a}]}\ndata: {k: null}"},
		{"PATCH", "", merge, `{"metadata":{"managedFields":[{"manager":"m","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"k:{}":{},"v:1":{}}}}]}}`},
		{"GET", "labelSelector=a in (b,c),!d&fieldSelector=metadata.name!=x", "", ""}, {"GET", "limit=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6Miwic3RhcnQiOiJkZWZhdWx0L2FcdTAwMDAifQ", "", ""},
		{"GET", "resourceVersion=1&resourceVersionMatch=Exact", "", ""},
		{"GET", "sendInitialEvents=x&timeoutSeconds=-1&allowWatchBookmarks=2", "", ""}, {"DELETE", "propagationPolicy=Orphan&gracePeriodSeconds=-1", "", ""},
		{"DELETE", "", "", `{"preconditions":{"uid":"x"},"dryRun":["All"]}`},
	} {
		f.Add(s[0], s[1], s[2], s[3])
	}
	f.Fuzz(func(t *testing.T, method, query, contentType, body string) {
		c := newClusterOf(t, fsm.New(kinds.Builtin().Schema(), 0))
		h := c.handler()
		do := func(method, path, query, contentType, body string) int {
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/", strings.NewReader(body))
			r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
			r.Header.Set("Content-Type", contentType)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			// Kubernetes' answer to a configuration that is none of its type, which it has no Status for.
			unfit := contentType == applyYAML && strings.Contains(w.Body.String(), "failed to create typed patch object")
			if w.Code == 500 && !unfit {
				t.Errorf("%s %s?%s: %s", method, path, query, w.Body)
			}
			return w.Code
		}
		do("POST", "/api/v1/namespaces", "", "", `{"metadata":{"name":"default"}}`)
		do("POST", configMaps, "", "", configMap("a", "1"))
		if q, err := url.ParseQuery(query); err != nil || q.Has("watch") || q.Get("resourceVersion") > "2" {
			return // a watch does not end, and a revision of the future is waited for
		}
		do(method, configMaps, query, contentType, body)
		do(method, configMaps+"/a", query, contentType, body)
	})
}

// Whatever a continue token says, the page is of the namespace that was asked for, in order, and an error is the client's.
func FuzzContinueToken(f *testing.F) {
	c := newClusterOf(f, fsm.New(kinds.Builtin().Schema(), 0))
	h := c.handler()
	do := func(method, path, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w
	}
	for _, ns := range []string{"default", "other"} {
		do("POST", "/api/v1/namespaces", `{"metadata":{"name":"`+ns+`"}}`)
		for _, name := range []string{"a", "b", "c"} {
			do("POST", "/api/v1/namespaces/"+ns+"/configmaps", configMap(name, "1"))
		}
	}
	var l corev1.ConfigMapList
	if err := json.Unmarshal(do("GET", configMaps+"?limit=1", "").Body.Bytes(), &l); err != nil {
		f.Fatal(err)
	}
	good, err := base64.RawURLEncoding.DecodeString(l.Continue)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(good), true)
	f.Add(strings.Replace(string(good), "default", "other", 1), true)
	f.Add(l.Continue, false)
	f.Fuzz(func(t *testing.T, token string, inside bool) {
		if inside {
			token = base64.RawURLEncoding.EncodeToString([]byte(token))
		}
		w := do("GET", configMaps+"?limit=2&continue="+url.QueryEscape(token), "")
		if w.Code != 200 {
			if w.Code < 400 || w.Code >= 500 {
				t.Errorf("%q: %d: %s", token, w.Code, w.Body)
			}
			return
		}
		var l corev1.ConfigMapList
		if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		for i, cm := range l.Items {
			if cm.Namespace != "default" || (i > 0 && l.Items[i-1].Name >= cm.Name) {
				t.Errorf("%q: %s/%s on the page", token, cm.Namespace, cm.Name)
			}
		}
	})
}
