package api_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/holt-project/holt/server/api"
)

func TestParseRequest(t *testing.T) {
	for _, tc := range []struct{ method, url, want string }{
		// verb group version namespace resource subresource name
		{"GET", "/api/v1/namespaces", "list||v1||namespaces||"},
		{"GET", "/api/v1/namespaces/other", "get||v1|other|namespaces||other"},
		{"GET", "/api/v1/namespaces/other/pods", "list||v1|other|pods||"},
		{"GET", "/api/v1/namespaces/other/pods/foo", "get||v1|other|pods||foo"},
		{"HEAD", "/api/v1/namespaces/other/pods/foo", "get||v1|other|pods||foo"},
		{"GET", "/api/v1/pods", "list||v1||pods||"},
		{"HEAD", "/api/v1/pods", "list||v1||pods||"},
		{"GET", "/api/v1/namespaces/other/pods/foo/log", "get||v1|other|pods|log|foo"},
		{"GET", "/api/v1/namespaces/other/finalize", "get||v1|other|namespaces|finalize|other"},
		{"PUT", "/api/v1/namespaces/other/finalize", "update||v1|other|namespaces|finalize|other"},
		{"PUT", "/api/v1/namespaces/other/status", "update||v1|other|namespaces|status|other"},
		{"POST", "/api/v1/namespaces/other/pods/foo/binding", "create||v1|other|pods|binding|foo"},
		{"DELETE", "/api/v1/namespaces/other/pods", "deletecollection||v1|other|pods||"},
		{"DELETE", "/api/v1/namespaces/other/pods/foo", "delete||v1|other|pods||foo"},
		{"DELETE", "/apis/batch/v1/namespaces/other/jobs", "deletecollection|batch|v1|other|jobs||"},
		{"PATCH", "/apis/apps/v1/namespaces/other/deployments/d/scale", "patch|apps|v1|other|deployments|scale|d"},
		{"GET", "/apis/apps/v1/deployments?watch=true", "watch|apps|v1||deployments||"},
		{"GET", "/apis/apps/v1/deployments?watch=1", "watch|apps|v1||deployments||"},
		{"GET", "/apis/apps/v1/deployments?watch=false", "list|apps|v1||deployments||"},
		{"GET", "/api/v1/watch/pods", "watch||v1||pods||"},
		{"GET", "/api/v1/watch/namespaces/other/pods", "watch||v1|other|pods||"},
		{"GET", "/api/v1/proxy/namespaces/other/pods/foo/x", "proxy||v1|other|pods||foo"},
		{"GET", "/api/v1/namespaces/other/pods?fieldSelector=metadata.name%3Dfoo", "list||v1|other|pods||foo"},
		{"GET", "/api/v1/namespaces/other/pods?watch=true&fieldSelector=metadata.name%3Dfoo", "watch||v1|other|pods||foo"},
		{"GET", "/api/v1/namespaces/other/pods?fieldSelector=metadata.name%3Da%2Fb", "list||v1|other|pods||"},
		{"GET", "/api/v1/nodes/n", "get||v1||nodes||n"},
		{"GET", "/api/v1", "get /api/v1"},
		{"GET", "/apis/apps/v1", "get /apis/apps/v1"},
		{"GET", "/", "get /"},
		{"POST", "/openapi/v2/x/y", "post /openapi/v2/x/y"},
		{"GET", "/api/v1/watch", "error"},
	} {
		u, err := url.Parse(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		i, err := api.ParseRequest(tc.method, u)
		got := strings.Join([]string{i.Verb, i.Group, i.Version, i.Namespace, i.Resource, i.Subresource, i.Name}, "|")
		if !i.ResourceRequest {
			got = i.Verb + " " + i.Path
		}
		if err != nil {
			got = "error"
		}
		if got != tc.want {
			t.Errorf("%s %s: got %s, want %s", tc.method, tc.url, got, tc.want)
		}
	}
}

// What the parser names is in the path: authorization never decides about something that was not asked for.
func FuzzParseRequest(f *testing.F) {
	for _, p := range []string{"/api/v1/namespaces/n/pods/p/log", "/apis/apps/v1/watch/deployments", "/api/v1//pods", "/api/v1/namespaces//pods",
		"/api/v1/proxy/nodes/n", "/apis/a/b/namespaces/c/status", "//api//v1/x/../y"} {
		f.Add("GET", p, "watch=1&fieldSelector=metadata.name=x")
	}
	f.Fuzz(func(t *testing.T, method, path, query string) {
		u := &url.URL{Path: path, RawQuery: query}
		i, err := api.ParseRequest(method, u)
		if err != nil || !i.ResourceRequest {
			return
		}
		segments := map[string]bool{"": true}
		for _, s := range strings.Split(path, "/") {
			segments[s] = true
		}
		for _, s := range []string{i.Group, i.Version, i.Namespace, i.Resource, i.Subresource} {
			if !segments[s] {
				t.Errorf("%q is not in the path %q", s, path)
			}
		}
		if !segments[i.Name] && i.Verb != "list" && i.Verb != "watch" && i.Verb != "deletecollection" {
			t.Errorf("name %q is not in the path %q", i.Name, path)
		}
		if again, err := api.ParseRequest(method, u); err != nil || again != i {
			t.Errorf("parsed twice: %+v and %+v (%v)", i, again, err)
		}
	})
}
