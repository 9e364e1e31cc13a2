package enroll_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/internal/pki"
)

// newNode makes a cluster with the agent w1 at 192.0.2.7, and a token of the cluster.
func newNode(t *testing.T) (pki.Identity, string) {
	t.Helper()
	ca, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Subject{User: "system:node:w1", IPs: []net.IP{net.IPv4(192, 0, 2, 7)}}, time.Now())
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
	return pki.Identity{Pair: pair, AuthorityPEM: ca.CertPEM}, token.String()
}

func TestDataFolderIsOfThisNode(t *testing.T) {
	id, token := newNode(t)
	_, foreign := newNode(t)
	w1 := enroll.Member{Role: "agent", Prefix: "system:node:", Name: "w1", Address: netip.MustParseAddr("192.0.2.7"), AddressFlag: "--node-ip"}
	renamed, moved := w1, w1
	renamed.Name = "w2"
	moved.Address = netip.MustParseAddr("192.0.2.8")
	for _, c := range []struct {
		member      enroll.Member
		token, want string
	}{
		{w1, token, ""},
		{w1, "", ""},
		{w1, "nonsense", ""},
		{w1, foreign, "/data belongs to another cluster"},
		{renamed, token, "/data is of the agent w1, not w2: start it with --name w1"},
		{moved, token, "is not for --node-ip 192.0.2.8"},
	} {
		err := c.member.Owns(id, "/data", c.token)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.member, err, c.want)
		}
	}
}
