package document_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/holt-project/holt/server/api/document"
)

func get(h http.Handler, method string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/doc", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestDocument(t *testing.T) {
	doc := document.New("application/json", []byte(`{}`))
	tag := `"` + doc.Hash() + `"`
	for name, test := range map[string]struct {
		method  string
		headers []string
		code    int
		body    string
	}{
		"get":            {"GET", nil, 200, `{}`},
		"head":           {"HEAD", nil, 200, ``},
		"known":          {"GET", []string{"If-None-Match", `"x", W/` + tag}, 304, ``},
		"known, any":     {"GET", []string{"If-None-Match", `*`}, 304, ``},
		"known, changed": {"GET", []string{"If-None-Match", `"x"`}, 200, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			w := get(doc, test.method, test.headers...)
			if w.Code != test.code || w.Body.String() != test.body || w.Header().Get("ETag") != tag {
				t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
			}
		})
	}
	if w := get(doc, "POST"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d %s", w.Code, w.Body)
	}
	if other := document.New("application/json", []byte(`[]`)); other.Hash() == doc.Hash() {
		t.Error("two documents with one hash")
	}
}

func TestUnencodable(t *testing.T) {
	if _, err := document.JSON("application/json", func() {}); err == nil {
		t.Error("a function was encoded")
	}
}

func TestNotFoundIsAStatus(t *testing.T) {
	w := get(http.HandlerFunc(document.NotFound), "GET")
	want := `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the server could not find the requested resource","reason":"NotFound","details":{},"code":404}`
	if w.Code != 404 {
		t.Error(w.Code)
	}
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Error(diff)
	}
}

func TestRefuseKeepsTheCode(t *testing.T) {
	w := httptest.NewRecorder()
	document.Refuse(w, apierrors.NewUnauthorized("who?"))
	if w.Code != http.StatusUnauthorized {
		t.Error(w.Code)
	}
}

func TestAccepted(t *testing.T) {
	for header, want := range map[string][]document.MediaType{
		"":                       {{Name: "*/*"}},
		"Application/JSON;q=0.5": {{Name: "application/json", Params: map[string]string{}}},
		"a/b;q=0, application/x@v1+protobuf ; v=v2": {{Name: "application/x@v1+protobuf", Params: map[string]string{"v": "v2"}}},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept", header)
		if diff := cmp.Diff(want, document.Accepted(r)); diff != "" {
			t.Errorf("%q: %s", header, diff)
		}
	}
}
