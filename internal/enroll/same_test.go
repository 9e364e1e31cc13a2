package enroll_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/internal/pki"
)

func TestSameCluster(t *testing.T) {
	tokens := make([]string, 2)
	ids := make([]pki.Identity, 2)
	for i := range tokens {
		ca, err := pki.NewAuthority(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		fingerprint, err := pki.Fingerprint(ca.CertPEM)
		if err != nil {
			t.Fatal(err)
		}
		token, err := pki.NewToken(pki.RoleAgent, fingerprint)
		if err != nil {
			t.Fatal(err)
		}
		tokens[i], ids[i] = token.String(), pki.Identity{AuthorityPEM: ca.CertPEM}
	}
	for _, token := range []string{tokens[0], "", "nonsense"} {
		if err := enroll.SameCluster(ids[0], token, "/data"); err != nil {
			t.Errorf("token %q: %v", token, err)
		}
	}
	err := enroll.SameCluster(ids[0], tokens[1], "/data")
	if err == nil || !strings.Contains(err.Error(), "/data belongs to another cluster") {
		t.Errorf("a token of another cluster: %v", err)
	}
}
