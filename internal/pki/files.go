package pki

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/holt-project/holt/internal/folder"
)

// identityFile holds a whole identity in a folder: the key, its certificate, and the authority's certificate. It is one
// file, so that a crash never leaves a key beside the certificate of another.
const identityFile = "identity.pem"

// Save writes the identity into dir, which only its owner may enter. After a crash there is the old one or the new.
func (id Identity) Save(dir string) error {
	if _, err := id.config(); err != nil {
		return fmt.Errorf("save certificates: %w", err)
	}
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.Chmod(dir, 0o700)); err != nil {
		return fmt.Errorf("save certificates: %w", err)
	}
	bundle := bytes.Join([][]byte{id.KeyPEM, id.CertPEM, id.AuthorityPEM}, nil)
	if err := folder.WriteFile(filepath.Join(dir, identityFile), bundle); err != nil {
		return fmt.Errorf("save certificates: %w", err)
	}
	return folder.Sync(filepath.Dir(dir))
}

// LoadIdentity reads what Save wrote, and checks that key and certificate belong together. The error is fs.ErrNotExist
// if nothing was saved.
func LoadIdentity(dir string) (Identity, error) {
	path := filepath.Join(dir, identityFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return Identity{}, err
	}
	var parts [3][]byte
	for i := range parts {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return Identity{}, fmt.Errorf("%s: it is cut short", path)
		}
		parts[i] = pem.EncodeToMemory(block)
	}
	id := Identity{Pair: Pair{KeyPEM: parts[0], CertPEM: parts[1]}, AuthorityPEM: parts[2]}
	if _, err := tls.X509KeyPair(id.CertPEM, id.KeyPEM); err != nil {
		return Identity{}, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := ParseCertificate(id.AuthorityPEM); err != nil {
		return Identity{}, fmt.Errorf("%s: the authority: %w", path, err)
	}
	return id, nil
}
