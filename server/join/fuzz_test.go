package join_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/internal/pki"
	"github.com/holt-project/holt/server/join"
)

// FuzzJoin sends bodies of requests to join: none may make the desk panic, and only the token's own secret, for the
// token's role, gets a certificate.
func FuzzJoin(f *testing.F) {
	w := newWorld(f)
	csr, _, err := pki.NewRequest()
	if err != nil {
		f.Fatal(err)
	}
	good := enroll.Request{TokenID: w.agent.ID, Secret: w.agent.Secret, Role: pki.RoleAgent, Name: "n1", Address: "192.0.2.9", CSR: csr}
	seed := func(change func(*enroll.Request)) {
		r := good
		change(&r)
		data, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	seed(func(*enroll.Request) {})
	seed(func(r *enroll.Request) { r.Role = pki.RoleServer })
	seed(func(r *enroll.Request) { r.Secret = r.Secret[1:] })
	seed(func(r *enroll.Request) { r.TokenID = "" })
	seed(func(r *enroll.Request) { r.TokenID = "../holt-cluster" })
	seed(func(r *enroll.Request) { r.CSR = r.CSR[:len(r.CSR)/2] })
	seed(func(r *enroll.Request) { r.Name, r.Address = "kubernetes", "10.43.0.1" })
	for _, body := range []string{"", "{}", "[]", "null", `{"csr":""}`, "{\"name\":\"\x00\"}", `{"secret":{}}`} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		out := httptest.NewRecorder()
		w.desk.Join(out, httptest.NewRequest(http.MethodPost, enroll.PathJoin, strings.NewReader(body)))
		if out.Code != http.StatusOK {
			if strings.Contains(out.Body.String(), "CERTIFICATE") || out.Code < 400 {
				t.Errorf("%d: %s", out.Code, out.Body)
			}
			return
		}
		var r enroll.Request
		if err := json.NewDecoder(strings.NewReader(body)).Decode(&r); err != nil {
			t.Fatalf("a body that is no request was granted: %v", err)
		}
		if r.TokenID != w.agent.ID || r.Secret != w.agent.Secret || r.Role != pki.RoleAgent {
			t.Errorf("granted without the token: %+v", r)
		}
		checkGrant(t, out.Body.String(), r)
	})
}

// checkGrant checks that a certificate is for the node that asked, and no more.
func checkGrant(t *testing.T, body string, r enroll.Request) {
	t.Helper()
	var g enroll.Grant
	if err := json.Unmarshal([]byte(body), &g); err != nil {
		t.Fatal(err)
	}
	cert, err := pki.ParseCertificate(g.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	want := join.AgentSubject(r.Name, netip.MustParseAddr(r.Address))
	if cert.Subject.CommonName != want.User || len(cert.Subject.Organization) != 1 || cert.Subject.Organization[0] != want.Groups[0] ||
		cert.IsCA || len(cert.DNSNames) != 1 || len(cert.IPAddresses) != 1 {
		t.Errorf("asked by %+v, granted %v %v %v", r, cert.Subject, cert.DNSNames, cert.IPAddresses)
	}
}
