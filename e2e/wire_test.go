package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/e2e/harness"
	"github.com/holt-project/holt/internal/pki"
)

// caller is an HTTPS client that believes the cluster's CA and has the certificate that a test gives it, or none.
func caller(t *testing.T, c *harness.Cluster, certificates ...tls.Certificate) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.Identity().AuthorityPEM) {
		t.Fatal("the kubeconfig has no CA")
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certificates, MinVersion: tls.VersionTLS13},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: bound}
}

func call(t *testing.T, client *http.Client, method, url, body string) (int, metav1.Status) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	must(t, err)
	var status metav1.Status
	if resp.StatusCode >= http.StatusBadRequest {
		if err := json.Unmarshal(data, &status); err != nil || status.Kind != "Status" {
			t.Errorf("%s %s: %s, and its body is no Status: %s", method, url, resp.Status, data)
		}
	}
	return resp.StatusCode, status
}

// TestWithoutACertificate asks as somebody whom the cluster does not know.
func TestWithoutACertificate(t *testing.T) {
	c := sharedCluster(t)
	url := harness.URL(c.Servers()[1])
	anonymous := caller(t, c)
	for _, path := range []string{"/livez", "/readyz", "/healthz", "/version"} {
		if code, status := call(t, anonymous, http.MethodGet, url+path, ""); code != http.StatusOK {
			t.Errorf("%s answers %d to anybody: %s", path, code, status.Message)
		}
	}
	for path, method := range map[string]string{
		"/api/v1/nodes": http.MethodGet, "/api/v1/namespaces/kube-system/secrets": http.MethodGet,
		"/api/v1/namespaces": http.MethodPost, "/holt/v1/status": http.MethodGet, "/holt/v1/members": http.MethodPost,
	} {
		req, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader("{}"))
		must(t, err)
		resp, err := anonymous.Do(req)
		must(t, err)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s %s answers %s to anybody", method, path, resp.Status)
		}
	}

	// A certificate of another CA is none, whatever it says.
	authority, err := pki.NewAuthority(time.Now())
	must(t, err)
	pair, err := authority.Issue(pki.Subject{User: "admin", Groups: []string{"system:masters"}}, time.Now())
	must(t, err)
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	must(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/v1/nodes", nil)
	must(t, err)
	resp, err := caller(t, c, cert).Do(req)
	if err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
			t.Errorf("an administrator of another cluster is answered %s", resp.Status)
		}
	}
}

// TestMalformedRequests sends what kubectl never would.
func TestMalformedRequests(t *testing.T) {
	c := sharedCluster(t)
	id := c.Identity()
	cert, err := tls.X509KeyPair(id.CertPEM, id.KeyPEM)
	must(t, err)
	admin := caller(t, c, cert)
	url := harness.URL(c.Servers()[0])
	const maps = "/api/v1/namespaces/default/configmaps"
	deep := `{"metadata":` + strings.Repeat(`{"a":`, 100_000) + `1` + strings.Repeat(`}`, 100_000) + `}`
	for _, r := range []struct {
		what, method, path, body string
		code                     int
	}{
		{"no JSON", http.MethodPost, maps, `{`, http.StatusBadRequest},
		{"no object", http.MethodPost, maps, `[]`, http.StatusBadRequest},
		{"nothing", http.MethodPost, maps, ``, http.StatusBadRequest},
		{"another kind", http.MethodPost, maps, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}`, http.StatusBadRequest},
		{"another namespace", http.MethodPost, maps, `{"metadata":{"name":"x","namespace":"other"}}`, http.StatusBadRequest},
		{"a wrong type", http.MethodPost, maps, `{"metadata":{"name":7}}`, http.StatusBadRequest},
		{"a field twice", http.MethodPost, maps + "?fieldValidation=Strict", `{"metadata":{"name":"x"},"data":{"a":"1","a":"2"}}`, http.StatusBadRequest},
		{"no name", http.MethodPost, maps, `{"metadata":{}}`, http.StatusUnprocessableEntity},
		{"too deep", http.MethodPost, maps, deep, http.StatusBadRequest},
		{"too large", http.MethodPost, maps, `{"data":{"a":"` + strings.Repeat("x", 4<<20) + `"}}`, http.StatusRequestEntityTooLarge},
		{"an unknown version", http.MethodGet, "/api/v2/pods", "", http.StatusNotFound},
		{"a path that climbs", http.MethodGet, "/api/v1/namespaces/../../secrets", "", http.StatusNotFound},
		{"a wrong revision", http.MethodGet, maps + "?resourceVersion=abc", "", http.StatusBadRequest},
		{"a wrong page", http.MethodGet, maps + "?continue=abc", "", http.StatusBadRequest},
	} {
		code, status := call(t, admin, r.method, url+r.path, r.body)
		if code != r.code || status.Message == "" {
			t.Errorf("%s: %d %s %q, want %d and a message", r.what, code, status.Reason, status.Message, r.code)
		}
	}
	out := kubectl(t, c, "get", "configmaps", "-n", "default", "-o", "name")
	if strings.Contains(out, "/x\n") {
		t.Errorf("something was created: %s", out)
	}
}
