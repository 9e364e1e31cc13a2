package harness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	"sigs.k8s.io/yaml"

	"github.com/holt-project/holt/internal/client"
	"github.com/holt-project/holt/internal/pki"
	"github.com/holt-project/holt/internal/sandbox"
)

// admin is the user's name in the kubeconfigs that are made here.
const admin = "admin"

// Cluster is a sandbox and the ways to talk to the cluster in it.
type Cluster struct {
	*sandbox.Sandbox
	// API asks the servers in turn until one answers.
	API *client.Client

	programs Programs
	identity pki.Identity
	hosts    []sandbox.Host
	clients  map[string]*client.Client // by the name of the server
}

// Size is how many hosts of each role a cluster has.
type Size struct{ Servers, Agents int }

// Up starts a cluster. Its caller calls Down.
func Up(ctx context.Context, p Programs, name string, size Size, log *slog.Logger) (*Cluster, error) {
	s, err := sandbox.Up(ctx, sandbox.Options{
		Name: name, Servers: size.Servers, Agents: size.Agents, Binary: p.Holt, Images: p.Images, Log: log,
	})
	if err != nil {
		return nil, err
	}
	c := &Cluster{Sandbox: s, programs: p, clients: map[string]*client.Client{}}
	if err := c.connect(ctx); err != nil {
		return nil, errors.Join(err, s.Down(context.WithoutCancel(ctx)))
	}
	return c, nil
}

// connect makes the clients, with the administrator's certificate.
func (c *Cluster) connect(ctx context.Context) error {
	var err error
	if c.hosts, err = c.Sandbox.Hosts(ctx); err != nil {
		return err
	}
	if c.identity, err = ReadIdentity(c.Sandbox.Kubeconfig()); err != nil {
		return err
	}
	tls, err := c.identity.ClientTLS()
	if err != nil {
		return err
	}
	var urls []string
	for _, server := range c.Servers() {
		if c.clients[server.Name], err = client.New([]string{URL(server)}, tls.Clone(), "e2e"); err != nil {
			return err
		}
		urls = append(urls, URL(server))
	}
	c.API, err = client.New(urls, tls, "e2e")
	return err
}

// ReadIdentity takes the certificates from a kubeconfig of one user, as holt server writes it.
func ReadIdentity(file string) (pki.Identity, error) {
	var id pki.Identity
	data, err := os.ReadFile(file)
	if err != nil {
		return id, err
	}
	var config clientcmdv1.Config
	if err := yaml.Unmarshal(data, &config); err != nil {
		return id, fmt.Errorf("%s: %w", file, err)
	}
	if len(config.Clusters) == 0 || len(config.AuthInfos) != 1 {
		return id, fmt.Errorf("%s has %d clusters and %d users, want one user", file, len(config.Clusters), len(config.AuthInfos))
	}
	user := config.AuthInfos[0].AuthInfo
	id.CertPEM, id.KeyPEM = user.ClientCertificateData, user.ClientKeyData
	id.AuthorityPEM = config.Clusters[0].Cluster.CertificateAuthorityData
	return id, nil
}

// Down removes the cluster and all that belongs to it.
func (c *Cluster) Down(ctx context.Context) error {
	for _, one := range c.clients {
		one.Close()
	}
	c.API.Close()
	return c.Sandbox.Down(ctx)
}

// Identity is the administrator's certificate and the cluster's CA.
func (c *Cluster) Identity() pki.Identity { return c.identity }

// Programs are those that the cluster runs.
func (c *Cluster) Programs() Programs { return c.programs }

// URL is where a server serves the API.
func URL(server sandbox.Host) string { return "https://" + server.Address + ":6443" }

// Servers lists the servers; of a Host only what never changes is meant.
func (c *Cluster) Servers() []sandbox.Host { return c.withRole(sandbox.RoleServer) }

// Agents lists the agents; of a Host only what never changes is meant.
func (c *Cluster) Agents() []sandbox.Host { return c.withRole(sandbox.RoleAgent) }

func (c *Cluster) withRole(role string) []sandbox.Host {
	var out []sandbox.Host
	for _, h := range c.hosts {
		if h.Role == role {
			out = append(out, h)
		}
	}
	return out
}

// At returns a client that asks one server only.
func (c *Cluster) At(server string) *client.Client { return c.clients[server] }

// Gateway is the machine's own address in the cluster's network.
func (c *Cluster) Gateway() (netip.Addr, error) {
	host, err := netip.ParseAddr(c.hosts[0].Address)
	if err != nil {
		return host, err
	}
	return netip.PrefixFrom(host, 24).Masked().Addr().Next(), nil
}

// Leader waits until a server leads, and names it.
func (c *Cluster) Leader(ctx context.Context) (string, error) {
	var leader string
	err := Await(ctx, "a server leads", func(ctx context.Context) error {
		hosts, err := c.Sandbox.Hosts(ctx)
		if err != nil {
			return err
		}
		for _, h := range hosts {
			if h.Leader {
				leader = h.Name
				return nil
			}
		}
		return errors.New("no server leads")
	})
	return leader, err
}

// awaitPause is the pause between two looks at another process.
const awaitPause = 50 * time.Millisecond

// Await calls probe until it returns nil. If ctx ends first, the error names what was awaited, and what the last whole
// probe said.
func Await(ctx context.Context, what string, probe func(context.Context) error) error {
	tick := time.NewTicker(awaitPause)
	defer tick.Stop()
	var last error
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s: %w", what, last)
		case <-tick.C:
		}
	}
}
