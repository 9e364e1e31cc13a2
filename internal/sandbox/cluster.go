package sandbox

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	"sigs.k8s.io/yaml"
)

// Cluster is what the sandbox asks the cluster that runs in it.
type Cluster interface {
	// ReadyNodes tells, for every Node by name, whether its Ready condition is true.
	ReadyNodes(ctx context.Context) (map[string]bool, error)
	// Status tells whether the server at an address leads; an error means that it does not serve, or does not vote yet
	// and so is of no use when another one is taken away.
	Status(ctx context.Context, server netip.Addr) (leader bool, err error)
}

// answerLimit bounds an answer's body: the list of the Nodes of the largest sandbox is far smaller.
const answerLimit = 16 << 20

// restCluster asks over HTTPS, with a certificate from a kubeconfig.
type restCluster struct {
	http    *http.Client
	servers []netip.Addr
}

var _ Cluster = (*restCluster)(nil)

// newCluster needs a kubeconfig with certificates in it, as holt server writes one.
func newCluster(kubeconfig []byte, servers []netip.Addr) (*restCluster, error) {
	var config clientcmdv1.Config
	if err := yaml.Unmarshal(kubeconfig, &config); err != nil {
		return nil, fmt.Errorf("the admin kubeconfig: %w", err)
	}
	if len(config.Clusters) == 0 || len(config.AuthInfos) == 0 {
		return nil, errors.New("the admin kubeconfig names no cluster or no user")
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(config.Clusters[0].Cluster.CertificateAuthorityData) {
		return nil, errors.New("the admin kubeconfig has no CA certificate")
	}
	user := config.AuthInfos[0].AuthInfo
	cert, err := tls.X509KeyPair(user.ClientCertificateData, user.ClientKeyData)
	if err != nil {
		return nil, fmt.Errorf("the admin kubeconfig's client certificate: %w", err)
	}
	return &restCluster{
		servers: servers,
		http: &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13},
			// A kept connection to a host that is killed, paused or cut would hang the next request.
			DisableKeepAlives: true,
		}},
	}, nil
}

// ReadyNodes asks one server after the other until one answers.
func (c *restCluster) ReadyNodes(ctx context.Context) (map[string]bool, error) {
	var failures error
	for _, server := range c.servers {
		var nodes corev1.NodeList
		if err := c.get(ctx, server, "/api/v1/nodes", &nodes); err != nil {
			failures = errors.Join(failures, err)
			continue
		}
		ready := map[string]bool{}
		for _, node := range nodes.Items {
			ready[node.Name] = false
			for _, condition := range node.Status.Conditions {
				if condition.Type == corev1.NodeReady {
					ready[node.Name] = condition.Status == corev1.ConditionTrue
				}
			}
		}
		return ready, nil
	}
	return nil, failures
}

func (c *restCluster) Status(ctx context.Context, server netip.Addr) (bool, error) {
	var status struct {
		Role  string `json:"role"`
		Voter bool   `json:"voter"`
	}
	if err := c.get(ctx, server, "/holt/v1/status", &status); err != nil {
		return false, err
	}
	if !status.Voter {
		return false, errors.New("it has not caught up with the others, and does not vote yet")
	}
	return status.Role == "leader", nil
}

func (c *restCluster) get(ctx context.Context, server netip.Addr, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+server.String()+":6443"+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		return fmt.Errorf("GET %s: %w", req.URL, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %.200s", req.URL, resp.Status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("GET %s: %w", req.URL, err)
	}
	return nil
}
