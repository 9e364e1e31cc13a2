package enroll

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/holt-project/holt/internal/pki"
)

// Member is a node that has joined, as its flags describe it.
type Member struct {
	// Role is what a node of its kind is called; Prefix and Name are its certificate's user.
	Role, Prefix, Name string
	// Address is where it serves, given by AddressFlag.
	Address     netip.Addr
	AddressFlag string
}

// Owns refuses to go on with the data folder of another node, for another address, or with a token of another cluster:
// the others would refuse the node, or it would serve a cluster that is not meant. A node that has joined needs no
// token; text that is none is left to whoever needs it.
func (m Member) Owns(id pki.Identity, dataDir, token string) error {
	cert, err := pki.ParseCertificate(id.CertPEM)
	if err != nil {
		return fmt.Errorf("the %s's certificate: %w", m.Role, err)
	}
	if name := strings.TrimPrefix(cert.Subject.CommonName, m.Prefix); name != m.Name {
		return fmt.Errorf("the data folder %s is of the %s %s, not %s: start it with --name %s, or choose another with --data-dir",
			dataDir, m.Role, name, m.Name, name)
	}
	if err := cert.VerifyHostname(m.Address.String()); err != nil {
		return fmt.Errorf("the %s's certificate is not for %s %s: use the address with which it joined, or join anew with an "+
			"empty data folder: %w", m.Role, m.AddressFlag, m.Address, err)
	}
	return sameCluster(id, dataDir, token)
}

func sameCluster(id pki.Identity, dataDir, token string) error {
	t, err := pki.ParseToken(token)
	if err != nil {
		return nil
	}
	own, err := pki.Fingerprint(id.AuthorityPEM)
	if err != nil {
		return err
	}
	if own != t.Fingerprint {
		return fmt.Errorf("the data folder %s belongs to another cluster than the token: choose another folder with "+
			"--data-dir, or empty it to join the token's cluster", dataDir)
	}
	return nil
}
