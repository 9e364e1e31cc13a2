package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/internal/folder"
	"github.com/holt-project/holt/internal/pki"
)

// joinRetry is the pause between attempts to join while no server answers.
const joinRetry = time.Second

const (
	// nodePrefix begins the user names of agents.
	nodePrefix  = "system:node:"
	identityDir = "tls"
	grantFile   = "cluster.json"
)

// identify returns the node's identity and what it was granted: what it has, or what joining gives.
func (c *Config) identify(ctx context.Context) (pki.Identity, enroll.Grant, error) {
	id, err := pki.LoadIdentity(c.data(identityDir))
	if errors.Is(err, fs.ErrNotExist) {
		return c.enroll(ctx)
	}
	var g enroll.Grant
	if err != nil {
		return id, g, fmt.Errorf("the node's certificate: %w", err)
	}
	mine := enroll.Member{Role: "agent", Prefix: nodePrefix, Name: c.Name, Address: c.NodeIP, AddressFlag: "--node-ip"}
	if err := mine.Owns(id, c.DataDir, c.Token); err != nil {
		return id, g, err
	}
	data, err := os.ReadFile(c.data(grantFile))
	if err != nil {
		return id, g, fmt.Errorf("what the node knows of its cluster: %w", err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		return id, g, fmt.Errorf("%s: %w", c.data(grantFile), err)
	}
	return id, g, nil
}

func (c *Config) enroll(ctx context.Context) (pki.Identity, enroll.Grant, error) {
	token, err := pki.ParseToken(c.Token)
	if err != nil {
		return pki.Identity{}, enroll.Grant{}, err
	}
	if token.Role != pki.RoleAgent {
		return pki.Identity{}, enroll.Grant{}, fmt.Errorf(
			"the token is for a node of the role %s: an agent needs one of: holt token create --role agent", token.Role)
	}
	for {
		id, g, err := enroll.Join(ctx, c.Join, token, c.Name, c.NodeIP.String())
		if err == nil {
			return id, g, c.keep(id, g)
		}
		if errors.Is(err, enroll.ErrRefused) {
			return id, g, err
		}
		c.Log.Info("no server answers yet; joining is tried again", "error", err)
		select {
		case <-time.After(joinRetry):
		case <-ctx.Done():
			return id, g, fmt.Errorf("joining: %w", err)
		}
	}
}

// keep saves the identity last: with it, joining is complete.
func (c *Config) keep(id pki.Identity, g enroll.Grant) error {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return err
	}
	data, err := json.Marshal(g)
	if err != nil {
		return err
	}
	if err := folder.WriteFile(c.data(grantFile), data); err != nil {
		return err
	}
	return id.Save(c.data(identityDir))
}
