package enroll

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/holt-project/holt/internal/pki"
	"github.com/holt-project/holt/internal/seal"
)

// The paths of joining on every server.
const (
	PathCA      = "/holt/v1/ca"
	PathJoin    = "/holt/v1/join"
	PathMembers = "/holt/v1/members"
	PathStatus  = "/holt/v1/status"
)

// ServerPort is where servers listen unless told otherwise.
const ServerPort = "6443"

const (
	requestTimeout = 10 * time.Second
	maxAnswer      = 1 << 20
)

// ErrRefused says that a server understood the request to join and refused it: asking again will not help.
var ErrRefused = errors.New("the cluster refused the node")

// Request asks for a certificate. The secret admits the node.
type Request struct {
	TokenID string `json:"tokenID"`
	Secret  string `json:"secret"`
	Role    string `json:"role"`
	Name    string `json:"name"`
	// Address is the IP address under which the node serves.
	Address string `json:"address"`
	CSR     []byte `json:"csr"`
}

// Grant is what a node gets.
type Grant struct {
	Certificate []byte `json:"certificate"`
	GossipKey   []byte `json:"gossipKey"`
	// KeyRing is for servers only: the keys with which they encrypt what they keep.
	KeyRing *seal.Ring `json:"keyRing,omitempty"`
	// Servers are the base URLs of all servers, at the time of joining.
	Servers []string `json:"servers"`
	Cluster Cluster  `json:"cluster"`
}

// Cluster is what all nodes of a cluster must agree on. It is decided when the cluster begins.
type Cluster struct {
	ClusterCIDR netip.Prefix `json:"clusterCIDR"`
	ServiceCIDR netip.Prefix `json:"serviceCIDR"`
	DNS         netip.Addr   `json:"dns"`
	Domain      string       `json:"domain"`
}

// Refusal is the body of an error answer.
type Refusal struct {
	Error string `json:"error"`
}

// URL completes a server's address, with or without scheme and port.
func URL(address string) (string, error) {
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return "", fmt.Errorf("%q is not a server's address: write https://HOST:%s", address, ServerPort)
	}
	port := u.Port()
	if port == "" {
		port = ServerPort
	}
	return "https://" + net.JoinHostPort(u.Hostname(), port), nil
}

// Join gets an identity from the first of the servers that grants one. It does not retry; an error that is
// ErrRefused need not be.
func Join(ctx context.Context, servers []string, token pki.Token, name, address string) (pki.Identity, Grant, error) {
	var errs error
	for _, s := range servers {
		id, grant, err := joinAt(ctx, s, token, name, address)
		if err == nil || errors.Is(err, ErrRefused) {
			return id, grant, err
		}
		errs = errors.Join(errs, fmt.Errorf("%s: %w", s, err))
	}
	return pki.Identity{}, Grant{}, errs
}

func joinAt(ctx context.Context, server string, token pki.Token, name, address string) (id pki.Identity, g Grant, err error) {
	authority, err := fetchAuthority(ctx, server, token.Fingerprint)
	if err != nil {
		return id, g, err
	}
	csr, key, err := pki.NewRequest()
	if err != nil {
		return id, g, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	body, err := json.Marshal(Request{token.ID, token.Secret, token.Role, name, address, csr})
	if err != nil {
		return id, g, err
	}
	// An agent's certificate, which may name any address, must not be enough to be told the secret.
	trusted := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, VerifyConnection: pki.OnlyServers}
	answer, err := call(ctx, trusted, http.MethodPost, server+PathJoin, body)
	if err != nil {
		return id, g, err
	}
	if err := json.Unmarshal(answer, &g); err != nil {
		return id, g, fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	authorityPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})
	id = pki.Identity{Pair: pki.Pair{CertPEM: g.Certificate, KeyPEM: key}, AuthorityPEM: authorityPEM}
	if _, err := id.ClientTLS(); err != nil {
		return pki.Identity{}, Grant{}, fmt.Errorf("the server granted a certificate that cannot be used: %w", err)
	}
	return id, g, nil
}

// fetchAuthority gets the CA certificate from a server that is not yet trusted; the fingerprint is what is trusted, so
// nothing but the certificate that has it is returned.
func fetchAuthority(ctx context.Context, server, fingerprint string) (*x509.Certificate, error) {
	untrusted := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true} //nolint:gosec // compared below
	data, err := call(ctx, untrusted, http.MethodGet, server+PathCA, nil)
	if err != nil {
		return nil, err
	}
	got, err := pki.Fingerprint(data)
	if err != nil {
		return nil, fmt.Errorf("the server's CA: %w", err)
	}
	if got != fingerprint {
		return nil, fmt.Errorf("%w: the server's CA is not the one that the token names: the token is of another cluster, "+
			"or somebody is in between", ErrRefused)
	}
	return pki.ParseCertificate(data)
}

func call(ctx context.Context, c *tls.Config, method, url string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: c}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the secret goes where it was meant to and nowhere else
	}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("the server's answer is longer than %d bytes", maxAnswer)
	}
	if resp.StatusCode == http.StatusOK {
		return data, nil
	}
	return nil, refusal(resp, data)
}

func refusal(resp *http.Response, data []byte) error {
	var r Refusal
	if json.Unmarshal(data, &r) != nil || r.Error == "" {
		r.Error = resp.Status
	}
	if resp.StatusCode >= 400 && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
		return fmt.Errorf("%w: %s", ErrRefused, r.Error)
	}
	return errors.New(r.Error)
}
