package api_test

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

// Whatever a client sends, the answer is its own fault or a success: never a panic or an internal error. Bodies, patches,
// selectors, continue tokens and options all go through here.
func FuzzRequest(f *testing.F) {
	merge, json, yaml := "application/merge-patch+json", "application/json-patch+json", "application/yaml"
	strategic, proto := "application/strategic-merge-patch+json", "application/vnd.kubernetes.protobuf"
	for _, s := range [][4]string{
		{"POST", "", "", configMap("b", "1")}, {"POST", "dryRun=All", yaml, "metadata: {name: b}\ndata: {a: &x b, c: *x}"},
		{"POST", "fieldValidation=Strict", proto, "k8s\x00\n\x0f\n\x02v1\x12\tConfigMap\x12\x05\n\x03\n\x01p\x1a\x00\"\x00"},
		{"PUT", "", "", configMap("a", "2")}, {"PATCH", "", merge, `{"data":{"k":null}}`}, {"PATCH", "", strategic, `{"data":{"$patch":"delete"}}`},
		{"PATCH", "", strategic, `{"metadata":{"finalizers":["a/b"],"$deleteFromPrimitiveList/finalizers":["c/d"]}}`},
		{"PATCH", "", json, `[{"op":"copy","from":"/data","path":"/metadata/labels"},{"op":"remove","path":"/data/k"}]`},
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
			if w.Code == 500 {
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
