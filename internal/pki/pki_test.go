package pki_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holt-project/holt/internal/pki"
)

func authority(t *testing.T) *pki.Authority {
	t.Helper()
	a, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *pki.Authority, s pki.Subject) pki.Identity {
	t.Helper()
	pair, err := a.Issue(s, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return pki.Identity{Pair: pair, AuthorityPEM: a.CertPEM}
}

func parse(t *testing.T, certPEM []byte) *x509.Certificate {
	t.Helper()
	c, err := pki.ParseCertificate(certPEM)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func request(t *testing.T, key any, template *x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func p256(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSignIgnoresWhatTheRequestAsksFor(t *testing.T) {
	a := authority(t)
	csr := request(t, p256(t), &x509.CertificateRequest{
		Subject:     pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}},
		DNSNames:    []string{"kubernetes"},
		IPAddresses: []net.IP{net.IPv4(192, 0, 2, 9)},
	})
	certPEM, err := a.Sign(csr, pki.Subject{User: "system:node:n1", Groups: []string{"system:nodes"}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := parse(t, certPEM)
	if c.Subject.CommonName != "system:node:n1" || !cmp.Equal(c.Subject.Organization, []string{"system:nodes"}) {
		t.Errorf("subject %v", c.Subject)
	}
	if len(c.DNSNames)+len(c.IPAddresses) > 0 {
		t.Errorf("names %v %v", c.DNSNames, c.IPAddresses)
	}
	if c.IsCA || c.KeyUsage&x509.KeyUsageCertSign != 0 {
		t.Error("the certificate may sign others")
	}
	if diff := cmp.Diff([]x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, c.ExtKeyUsage); diff != "" {
		t.Errorf("usages (-want +got):\n%s", diff)
	}
}

func TestSignRefuses(t *testing.T) {
	a := authority(t)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged := request(t, p256(t), &x509.CertificateRequest{})
	block, _ := pem.Decode(forged)
	block.Bytes[len(block.Bytes)-1] ^= 1
	for name, csr := range map[string][]byte{
		"nothing":              nil,
		"garbage":              []byte("garbage"),
		"a certificate":        a.CertPEM,
		"a key":                a.KeyPEM,
		"no proof of the key":  pem.EncodeToMemory(block),
		"another algorithm":    request(t, edKey, &x509.CertificateRequest{}),
		"another curve":        request(t, p384, &x509.CertificateRequest{}),
		"garbage that is PEM":  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte{0x30}}),
		"a request of a wrong": pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: block.Bytes}),
	} {
		if _, err := a.Sign(csr, pki.Subject{User: "x"}, time.Now()); err == nil {
			t.Errorf("%s was signed", name)
		}
	}
}

func TestValidity(t *testing.T) {
	now := time.Now()
	a := authority(t)
	pair, err := a.Issue(pki.Subject{User: "x"}, now)
	if err != nil {
		t.Fatal(err)
	}
	c, ca := parse(t, pair.CertPEM), parse(t, a.CertPEM)
	if !c.NotBefore.Before(now.Add(-30 * time.Minute)) {
		t.Errorf("not valid for a clock that is half an hour behind: %v", c.NotBefore)
	}
	if d := c.NotAfter.Sub(now); d > 366*24*time.Hour || d < 364*24*time.Hour {
		t.Errorf("valid for %v", d)
	}
	if late, err := a.Issue(pki.Subject{User: "x"}, ca.NotAfter.Add(-time.Hour)); err != nil {
		t.Error(err)
	} else if c := parse(t, late.CertPEM); c.NotAfter.After(ca.NotAfter) {
		t.Errorf("outlives its authority: %v after %v", c.NotAfter, ca.NotAfter)
	}
}

func TestLoadAuthorityRefuses(t *testing.T) {
	a, b := authority(t), authority(t)
	leaf := issue(t, a, pki.Subject{User: "x"})
	for name, pair := range map[string][2][]byte{
		"another's key":   {a.CertPEM, b.KeyPEM},
		"a leaf":          {leaf.CertPEM, leaf.KeyPEM},
		"no certificate":  {nil, a.KeyPEM},
		"no key":          {a.CertPEM, nil},
		"garbage for key": {a.CertPEM, []byte("x")},
		"two":             {append(bytes.Clone(a.CertPEM), b.CertPEM...), a.KeyPEM},
	} {
		if _, err := pki.LoadAuthority(pair[0], pair[1]); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := pki.LoadAuthority(a.CertPEM, a.KeyPEM); err != nil {
		t.Error(err)
	}
}

// A second certificate beside the pinned one would be trusted too.
func TestOneCertificateOnly(t *testing.T) {
	a, b := authority(t), authority(t)
	for name, data := range map[string][]byte{
		"second":       append(bytes.Clone(a.CertPEM), b.CertPEM...),
		"text behind":  append(bytes.Clone(a.CertPEM), "x"...),
		"text before":  append([]byte("x\n"), a.CertPEM...),
		"another type": bytes.ReplaceAll(a.CertPEM, []byte("CERTIFICATE"), []byte("TRUSTED CERTIFICATE")),
		"broken first": append([]byte("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"), b.CertPEM...),
	} {
		if got, err := pki.Fingerprint(data); err == nil && !strings.HasPrefix(name, "broken") {
			t.Errorf("%s: has the fingerprint %s", name, got)
		}
	}
	if _, err := pki.Fingerprint(append([]byte("\n"), append(a.CertPEM, '\n')...)); err != nil {
		t.Errorf("white space: %v", err)
	}
}

func TestIdentityOnDisk(t *testing.T) {
	a := authority(t)
	id := issue(t, a, pki.Subject{User: "x"})
	folder := filepath.Join(t.TempDir(), "tls")
	if _, err := pki.LoadIdentity(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing saved: %v", err)
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a renewal replaces what is there
		if err := id.Save(folder); err != nil {
			t.Fatal(err)
		}
		got, err := pki.LoadIdentity(folder)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(id, got); diff != "" {
			t.Errorf("saved and loaded (-want +got):\n%s", diff)
		}
		id = issue(t, a, pki.Subject{User: "y"})
	}
	modes(t, folder)
	if err := (pki.Identity{Pair: pki.Pair{CertPEM: id.CertPEM, KeyPEM: a.KeyPEM}, AuthorityPEM: a.CertPEM}).Save(folder); err == nil {
		t.Error("a key beside another's certificate was saved")
	}
}

func modes(t *testing.T, folder string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		}
		if err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, not %v", path, info.Mode().Perm(), want)
		}
		if strings.HasPrefix(e.Name(), ".new-") {
			t.Errorf("%s was left behind", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestIdentityDamaged(t *testing.T) {
	a := authority(t)
	one, two := issue(t, a, pki.Subject{User: "x"}), issue(t, a, pki.Subject{User: "y"})
	for name, data := range map[string][]byte{
		"empty":       {},
		"cut":         bytes.Join([][]byte{one.KeyPEM, one.CertPEM}, nil),
		"cut inside":  bytes.Join([][]byte{one.KeyPEM, one.CertPEM, a.CertPEM[:80]}, nil),
		"mixed":       bytes.Join([][]byte{one.KeyPEM, two.CertPEM, a.CertPEM}, nil),
		"swapped":     bytes.Join([][]byte{one.CertPEM, one.KeyPEM, a.CertPEM}, nil),
		"no CA":       bytes.Join([][]byte{one.KeyPEM, one.CertPEM, one.KeyPEM}, nil),
		"not PEM":     []byte("hello"),
		"zeros":       make([]byte, 2000),
		"only the CA": a.CertPEM,
	} {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, "identity.pem"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := pki.LoadIdentity(folder); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// connect makes a TLS connection between two configurations and returns both sides' errors.
func connect(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		raw, err := l.Accept()
		if err == nil {
			s := tls.Server(raw, server)
			err = s.Handshake()
			state = s.ConnectionState()
			if err == nil {
				_, err = s.Write([]byte("x"))
			}
			_ = raw.Close()
		}
		done <- err
	}()
	c, clientErr := tls.Dial("tcp", l.Addr().String(), client)
	if clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1))
		_ = c.Close()
	}
	return state, <-done, clientErr
}

func TestTLS(t *testing.T) {
	a, other := authority(t), authority(t)
	serves := pki.Subject{User: "s", Groups: []string{pki.ServersGroup}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}
	agent := pki.Subject{User: "n", Groups: []string{"system:nodes"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}
	config := func(f func() (*tls.Config, error)) *tls.Config {
		t.Helper()
		c, err := f()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	server := config(issue(t, a, serves).ServerTLS)
	user := issue(t, a, pki.Subject{User: "u"})

	state, serverErr, clientErr := connect(t, server, config(user.ClientTLS))
	if serverErr != nil || clientErr != nil || state.Version != tls.VersionTLS13 || len(state.VerifiedChains) != 1 {
		t.Errorf("a friend: %v, %v, version %x, chains %d", serverErr, clientErr, state.Version, len(state.VerifiedChains))
	}
	anonymous := config(user.ClientTLS)
	anonymous.Certificates = nil
	if state, serverErr, clientErr := connect(t, server, anonymous); serverErr != nil || clientErr != nil || len(state.VerifiedChains) != 0 {
		t.Errorf("nobody: %v, %v, chains %d", serverErr, clientErr, len(state.VerifiedChains))
	}
	old := config(user.ClientTLS)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, serverErr, _ := connect(t, server, old); serverErr == nil {
		t.Error("TLS 1.2 was accepted")
	}
	stranger := issue(t, other, pki.Subject{User: "u"})
	stranger.AuthorityPEM = a.CertPEM
	pushy := config(stranger.ClientTLS) // shows its certificate though the server does not ask for one of its authority
	pushy.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pushy.Certificates[0], nil }
	if _, serverErr, _ := connect(t, server, pushy); serverErr == nil {
		t.Error("another authority's client was accepted")
	}
	if _, _, clientErr := connect(t, config(issue(t, other, serves).ServerTLS), config(user.ClientTLS)); clientErr == nil {
		t.Error("another authority's server was accepted")
	}
	if _, _, clientErr := connect(t, config(issue(t, a, agent).ServerTLS), config(user.ClientTLS)); clientErr == nil {
		t.Error("an agent was taken for a server")
	}
	if _, _, clientErr := connect(t, config(issue(t, a, agent).ServerTLS), config(user.PeerTLS)); clientErr != nil {
		t.Errorf("an agent as a peer: %v", clientErr)
	}
	if _, _, clientErr := connect(t, config(user.ServerTLS), config(user.PeerTLS)); clientErr == nil {
		t.Error("a client's certificate served")
	}
}

func TestToken(t *testing.T) {
	a := authority(t)
	fingerprint, err := pki.Fingerprint(a.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{pki.RoleServer, pki.RoleAgent} {
		token, err := pki.NewToken(role, fingerprint)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pki.ParseToken(" " + token.String() + "\n")
		if err != nil || got != token {
			t.Errorf("%v, %v; want %v", got, err, token)
		}
		if strings.Contains(token.SecretHash(), token.Secret) || len(token.SecretHash()) != 64 {
			t.Errorf("hash %q", token.SecretHash())
		}
	}
	if token, err := pki.NewToken("admin", fingerprint); err == nil {
		t.Errorf("a token of no role: %v", token)
	}
	for _, text := range []string{"", "holt1", "holt1.agent.aaaaaaaa.x." + fingerprint,
		"holt2.agent.aaaaaaaa." + fingerprint[:32] + "." + fingerprint, "holt1.admin.aaaaaaaa." + fingerprint[:32] + "." + fingerprint} {
		if _, err := pki.ParseToken(text); err == nil || !strings.Contains(err.Error(), "holt token create") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("holt1.agent.0123abcd.0123456789abcdef0123456789abcdef." + strings.Repeat("0f", 32))
	f.Add("holt1.server..x.")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := pki.ParseToken(text)
		if err == nil && token.String() != strings.TrimSpace(text) {
			t.Errorf("%q became %q", text, token)
		}
	})
}

func FuzzParseCertificate(f *testing.F) {
	a, err := pki.NewAuthority(time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(a.CertPEM)
	f.Add(append(bytes.Clone(a.CertPEM), a.CertPEM...))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := pki.ParseCertificate(data)
		if err != nil {
			return
		}
		// What was parsed must be all that a pool finds in the same text.
		pool, one := x509.NewCertPool(), x509.NewCertPool()
		pool.AppendCertsFromPEM(data)
		one.AddCert(c)
		if !pool.Equal(one) {
			t.Errorf("%q hides another certificate", data)
		}
	})
}
