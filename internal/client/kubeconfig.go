package client

import (
	"errors"
	"fmt"
	"os"
	"strings"

	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	"sigs.k8s.io/yaml"

	"github.com/holt-project/holt/internal/pki"
)

// FromKubeconfig makes a client of the kubeconfig's current context, which must use client certificates as the ones
// that Holt writes do.
func FromKubeconfig(path, userAgent string) (*Client, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	server, id, err := parseKubeconfig(data)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	tls, err := id.ClientTLS()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	return New([]string{server}, tls, userAgent)
}

func parseKubeconfig(data []byte) (string, pki.Identity, error) {
	var c clientcmdv1.Config
	var id pki.Identity
	if err := yaml.Unmarshal(data, &c); err != nil {
		return "", id, err
	}
	for _, ctx := range c.Contexts {
		if ctx.Name != c.CurrentContext {
			continue
		}
		var server string
		for _, cl := range c.Clusters {
			if cl.Name == ctx.Context.Cluster {
				server, id.AuthorityPEM = cl.Cluster.Server, cl.Cluster.CertificateAuthorityData
			}
		}
		for _, u := range c.AuthInfos {
			if u.Name == ctx.Context.AuthInfo {
				id.CertPEM, id.KeyPEM = u.AuthInfo.ClientCertificateData, u.AuthInfo.ClientKeyData
			}
		}
		if !strings.HasPrefix(server, "https://") || len(id.CertPEM) == 0 || len(id.AuthorityPEM) == 0 {
			return "", id, errors.New("its current context needs an https server, its certificate authority's data and " +
				"a client certificate's data")
		}
		return server, id, nil
	}
	return "", id, errors.New("it has no current context")
}
