package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/internal/folder"
	"github.com/holt-project/holt/internal/pki"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/auth"
	"github.com/holt-project/holt/server/join"
	"github.com/holt-project/holt/server/keyring"
)

// joinRetry is the pause between attempts to join while no server answers.
const joinRetry = time.Second

// The files of a server's data folder; what is in raftDir belongs to consensus.
const (
	identityDir     = "tls"
	raftDir         = "raft"
	gossipKeyFile   = "gossip.key"
	bootstrapFile   = "bootstrap.json"
	serverTokenFile = "server-token"
	agentTokenFile  = "agent-token"
	clusterFile     = "cluster.json"
	kubeconfigFile  = "admin.kubeconfig"
)

// credentials are what a server needs to be one.
type credentials struct {
	pki.Identity
	gossipKey []byte
	// ring is the keys that the disk is encrypted with.
	ring seal.Ring
	// found is the cluster that this server begins, unless it is known to be in the store.
	found *founding
}

// founding is kept on disk, sealed, until the cluster's secrets are in the store, so that a crash in between loses nothing.
type founding struct {
	CACert, CAKey, GossipKey []byte
	Tokens                   []pki.Token
}

// load returns the server's credentials: those that it has, or new ones by joining or by founding a cluster.
func (c *Config) load(ctx context.Context) (credentials, error) {
	id, err := pki.LoadIdentity(c.path(identityDir))
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(c.Join) > 0:
		return c.enroll(ctx)
	case errors.Is(err, fs.ErrNotExist):
		return c.found(time.Now())
	case err != nil:
		return credentials{}, fmt.Errorf("the server's certificates: %w", err)
	}
	mine := enroll.Member{Role: "server", Prefix: auth.ServerPrefix, Name: c.Name, Address: c.Bind, AddressFlag: "--bind"}
	if err := mine.Owns(id, c.DataDir, c.Token); err != nil {
		return credentials{}, err
	}
	key, err := os.ReadFile(c.path(gossipKeyFile))
	if err != nil {
		return credentials{}, fmt.Errorf("the gossip key: %w", err)
	}
	if err := c.readAgreed(); err != nil {
		return credentials{}, err
	}
	ring, err := keyring.Load(c.Keyring)
	if err != nil {
		return credentials{}, err
	}
	f, err := c.loadFounding(ring)
	return credentials{id, key, ring, f}, err
}

// enroll joins the cluster, waiting for a server that answers.
func (c *Config) enroll(ctx context.Context) (credentials, error) {
	token, err := pki.ParseToken(c.Token)
	if err != nil {
		return credentials{}, err
	}
	if token.Role != pki.RoleServer {
		return credentials{}, fmt.Errorf("the token is for a node of the role %s: a server needs one of: holt token create --role server", token.Role)
	}
	for {
		id, grant, err := enroll.Join(ctx, c.Join, token, c.Name, c.Bind.String())
		if err == nil {
			c.ClusterCIDR, c.ServiceCIDR = grant.Cluster.ClusterCIDR, grant.Cluster.ServiceCIDR
			return c.joined(id, grant)
		}
		if errors.Is(err, enroll.ErrRefused) {
			return credentials{}, err
		}
		c.Log.Info("no server answers yet; joining is tried again", "error", err)
		select {
		case <-time.After(joinRetry):
		case <-ctx.Done():
			return credentials{}, fmt.Errorf("joining: %w", err)
		}
	}
}

// joined keeps what the cluster has granted.
func (c *Config) joined(id pki.Identity, grant enroll.Grant) (credentials, error) {
	if grant.KeyRing == nil {
		return credentials{}, errors.New("the cluster has granted no key ring: its servers are of another version")
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return credentials{}, err
	}
	ring, err := keyring.Found(c.Keyring, *grant.KeyRing, time.Now())
	if err != nil {
		return credentials{}, err
	}
	return credentials{Identity: id, gossipKey: grant.GossipKey, ring: ring}, c.keep(id, grant.GossipKey)
}

// found makes a new cluster.
func (c *Config) found(now time.Time) (credentials, error) {
	authority, err := pki.NewAuthority(now)
	if err != nil {
		return credentials{}, err
	}
	f := &founding{CACert: authority.CertPEM, CAKey: authority.KeyPEM, GossipKey: make([]byte, 32)}
	if _, err := rand.Read(f.GossipKey); err != nil {
		return credentials{}, err
	}
	fingerprint, err := pki.Fingerprint(authority.CertPEM)
	if err != nil {
		return credentials{}, err
	}
	for _, role := range []string{pki.RoleServer, pki.RoleAgent} {
		t, err := pki.NewToken(role, fingerprint)
		if err != nil {
			return credentials{}, err
		}
		f.Tokens = append(f.Tokens, t)
	}
	pair, err := authority.Issue(join.ServerSubject(c.Name, c.Bind, c.serviceAddress(KubernetesAddress)), now)
	if err != nil {
		return credentials{}, err
	}
	id := pki.Identity{Pair: pair, AuthorityPEM: authority.CertPEM}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return credentials{}, err
	}
	// The order matters: the identity comes last, and with it the founding is complete.
	ring, err := keyring.Found(c.Keyring, seal.Ring{}, now)
	if err != nil {
		return credentials{}, err
	}
	if err := c.saveFounding(f, ring); err != nil {
		return credentials{}, err
	}
	return credentials{id, f.GossipKey, ring, f}, c.keep(id, f.GossipKey)
}

func (c *Config) keep(id pki.Identity, gossipKey []byte) error {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return err
	}
	if err := folder.WriteFile(c.path(gossipKeyFile), gossipKey); err != nil {
		return err
	}
	data, err := json.Marshal(c.agreed())
	if err != nil {
		return err
	}
	if err := folder.WriteFile(c.path(clusterFile), data); err != nil {
		return err
	}
	return id.Save(c.path(identityDir))
}

// agreed is what all nodes must agree on. Flags count when the cluster begins; afterwards what was kept does.
func (c *Config) agreed() enroll.Cluster {
	return enroll.Cluster{ClusterCIDR: c.ClusterCIDR, ServiceCIDR: c.ServiceCIDR,
		DNS: c.serviceAddress(DNSAddress), Domain: Domain}
}

func (c *Config) readAgreed() error {
	data, err := os.ReadFile(c.path(clusterFile))
	if err != nil {
		return fmt.Errorf("the cluster's ranges: %w", err)
	}
	var agreed enroll.Cluster
	if err := json.Unmarshal(data, &agreed); err != nil {
		return fmt.Errorf("%s: %w", c.path(clusterFile), err)
	}
	c.ClusterCIDR, c.ServiceCIDR = agreed.ClusterCIDR, agreed.ServiceCIDR
	return nil
}

// foundingPlace is what the founding is sealed for.
var foundingPlace = []byte("holt founding")

func (c *Config) saveFounding(f *founding, ring seal.Ring) error {
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	sealed, err := ring.Seal(data, foundingPlace)
	if err != nil {
		return err
	}
	return folder.WriteFile(c.path(bootstrapFile), sealed)
}

func (c *Config) loadFounding(ring seal.Ring) (*founding, error) {
	sealed, err := os.ReadFile(c.path(bootstrapFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var f founding
	data, err := ring.Open(sealed, foundingPlace)
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.path(bootstrapFile), err)
	}
	return &f, nil
}

func (f *founding) token(role string) pki.Token {
	for _, t := range f.Tokens {
		if t.Role == role {
			return t
		}
	}
	return pki.Token{}
}
