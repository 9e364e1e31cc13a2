package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Identity is a certificate, its key and the authority that peers must have: all that a TLS connection needs.
type Identity struct {
	Pair
	AuthorityPEM []byte
}

// ServerTLS accepts TLS 1.3 connections. A client certificate is verified if there is one; who has none is
// anonymous, and the caller decides what that may do.
func (id Identity) ServerTLS() (*tls.Config, error) {
	c, err := id.config()
	if err != nil {
		return nil, err
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	return c, nil
}

// ClientTLS dials servers of the cluster and shows them the certificate.
func (id Identity) ClientTLS() (*tls.Config, error) { return id.config() }

func (id Identity) config() (*tls.Config, error) {
	cert, err := tls.X509KeyPair(id.CertPEM, id.KeyPEM)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(id.AuthorityPEM) {
		return nil, errors.New("the authority's certificate is not PEM")
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert},
		RootCAs:      pool,
		ClientCAs:    pool,
	}, nil
}

// The files of an identity in a folder.
const (
	authorityFile = "ca.crt"
	certFile      = "tls.crt"
	keyFile       = "tls.key"
)

// Save writes the identity into folder, which only root may enter.
func (id Identity) Save(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	for name, data := range map[string][]byte{authorityFile: id.AuthorityPEM, certFile: id.CertPEM, keyFile: id.KeyPEM} {
		if err := WriteFile(filepath.Join(folder, name), data); err != nil {
			return fmt.Errorf("save certificates: %w", err)
		}
	}
	return nil
}

// LoadIdentity reads what Save wrote. The error is fs.ErrNotExist if nothing was saved.
func LoadIdentity(folder string) (Identity, error) {
	var id Identity
	for name, to := range map[string]*[]byte{authorityFile: &id.AuthorityPEM, certFile: &id.CertPEM, keyFile: &id.KeyPEM} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return Identity{}, err
		}
		*to = data
	}
	return id, nil
}

// WriteFile replaces a file as a whole, so that a crash leaves the old one or the new one. Only its owner may read it.
func WriteFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
