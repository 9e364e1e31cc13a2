package pki

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/holt-project/holt/internal/folder"
)

// Kubeconfig returns the text of a kubeconfig for the identity at the server's URL.
func (id Identity) Kubeconfig(server, user string) []byte {
	server, user = strconv.Quote(server), strconv.Quote(user) // as YAML reads them
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: holt
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: %s
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: holt
  context:
    cluster: holt
    user: %s
current-context: holt
`, server, b64(id.AuthorityPEM), user, b64(id.CertPEM), b64(id.KeyPEM), user)
}

// SaveKubeconfig writes a kubeconfig that only its owner may read.
func (id Identity) SaveKubeconfig(path, server, user string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return folder.WriteFile(path, id.Kubeconfig(server, user))
}
