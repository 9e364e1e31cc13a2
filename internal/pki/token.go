package pki

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Roles that a token can admit.
const (
	RoleServer = "server"
	RoleAgent  = "agent"
)

// Token admits a node of one role to the cluster and pins the cluster's authority. Its text is
// holt1.ROLE.ID.SECRET.FINGERPRINT.
type Token struct {
	Role, ID, Secret string
	// Fingerprint is the authority's; the joiner compares it before it sends the secret.
	Fingerprint string
}

var tokenPattern = regexp.MustCompile(`^holt1\.(server|agent)\.([a-z0-9]{8})\.([a-f0-9]{32})\.([a-f0-9]{64})$`)

// NewToken makes a token of the role with a random ID and secret.
func NewToken(role, fingerprint string) (Token, error) {
	if role != RoleServer && role != RoleAgent {
		return Token{}, fmt.Errorf("%q is not a role: it is %s or %s", role, RoleServer, RoleAgent)
	}
	b := make([]byte, 20)
	if _, err := rand.Read(b); err != nil {
		return Token{}, err
	}
	return Token{role, hex.EncodeToString(b[:4]), hex.EncodeToString(b[4:]), fingerprint}, nil
}

// ParseToken reads a token's text.
func ParseToken(s string) (Token, error) {
	m := tokenPattern.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return Token{}, errors.New("not a join token: it reads holt1.ROLE.ID.SECRET.FINGERPRINT; " +
			"a running server prints one with: holt token create --role server|agent")
	}
	return Token{m[1], m[2], m[3], m[4]}, nil
}

func (t Token) String() string {
	return strings.Join([]string{"holt1", t.Role, t.ID, t.Secret, t.Fingerprint}, ".")
}

// SecretHash is what a server keeps of the secret.
func (t Token) SecretHash() string {
	sum := sha256.Sum256([]byte(t.Secret))
	return hex.EncodeToString(sum[:])
}
