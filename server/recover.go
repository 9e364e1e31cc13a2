package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/folder"
	"github.com/holt-project/holt/internal/pki"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/auth"
	"github.com/holt-project/holt/server/consensus"
	"github.com/holt-project/holt/server/keyring"
	"github.com/holt-project/holt/server/kinds"
)

// Survivor is a stopped server that a cluster can be recovered from.
type Survivor struct {
	Name, Address string
	Members       []consensus.Member
	// Index and Term are those of the last entry of its log.
	Index, Term uint64
}

// Recover makes the stopped server in c.DataDir the only one of its cluster, if confirm agrees, and tells done. Of c it
// needs DataDir, Keyring and Log. See consensus.Survivor for what is kept and what may be lost.
func Recover(ctx context.Context, c Config, confirm, done func(Survivor) error) (err error) {
	id, err := pki.LoadIdentity(c.path(identityDir))
	if errors.Is(err, fs.ErrNotExist) { // nothing is made in a folder that is none of ours
		return fmt.Errorf("%s is not the data folder of a server: name it with --data-dir", c.DataDir)
	}
	if err != nil {
		return fmt.Errorf("the server's certificates: %w", err)
	}
	release, err := folder.Lock(c.DataDir, "server")
	if err != nil {
		return err
	}
	defer release()
	s, me, err := c.survivor(id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := confirm(me); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := s.Recover(fsm.New(kinds.Builtin().Schema(), 0)); err != nil {
		return fmt.Errorf("%w; the attempt has lost nothing, and can be repeated", err)
	}
	return done(me)
}

// survivor opens the server's part of the group. The caller closes it.
func (c *Config) survivor(id pki.Identity) (*consensus.Survivor, Survivor, error) {
	var me Survivor
	cert, err := pki.ParseCertificate(id.CertPEM)
	if err != nil {
		return nil, me, fmt.Errorf("the server's certificate: %w", err)
	}
	name, ok := strings.CutPrefix(cert.Subject.CommonName, auth.ServerPrefix)
	if !ok {
		return nil, me, fmt.Errorf("%s is the data folder of %s, not of a server: name a server's with --data-dir", c.DataDir, cert.Subject.CommonName)
	}
	fingerprint, err := pki.Fingerprint(id.AuthorityPEM)
	if err != nil {
		return nil, me, err
	}
	if _, err := os.Stat(c.path(raftDir)); errors.Is(err, fs.ErrNotExist) {
		return nil, me, fmt.Errorf("%s holds no state: the server has never been a member of its cluster", c.DataDir)
	}
	if c.Keyring == "" {
		c.Keyring = c.path(keyring.File)
	}
	ring, err := keyring.Load(c.Keyring)
	if err != nil {
		return nil, me, err
	}
	s, err := consensus.OpenSurvivor(consensus.Config{Name: name, Cluster: fingerprint, DataDir: c.path(raftDir),
		Keys: seal.NewHolder(ring), Log: c.Log})
	if errors.Is(err, consensus.ErrMissingKey) {
		err = fmt.Errorf("%w. The key ring is %s. %s", err, c.Keyring, keyring.Advice(c.Keyring))
	}
	if err != nil {
		return nil, me, fmt.Errorf("%s: %w", c.DataDir, err)
	}
	me = Survivor{Name: name, Members: s.Members, Index: s.Index, Term: s.Term}
	for _, m := range s.Members {
		if m.Name == name {
			me.Address = m.Address
		}
	}
	return s, me, nil
}
