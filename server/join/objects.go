package join

import (
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/pki"
)

// Where the cluster's own secrets are.
const (
	Namespace     = metav1.NamespaceSystem
	clusterSecret = "holt-cluster"
	tokenPrefix   = "holt-token-"

	typeCluster corev1.SecretType = "holt.dev/cluster"
	typeToken   corev1.SecretType = "holt.dev/join-token"

	keyCACert, keyCAKey, keyGossip = "ca.crt", "ca.key", "gossip.key"
	keyRole, keyHash, keyExpires   = "role", "sha256", "expires"
)

// ErrNoCluster says that the cluster's secrets are not in the store yet: it is being bootstrapped.
var ErrNoCluster = errors.New("the cluster is not ready yet")

// Cluster is what makes a cluster this one.
type Cluster struct {
	Authority *pki.Authority
	GossipKey []byte
}

// Secret is the object that keeps the cluster's secrets.
func (c Cluster) Secret() *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: clusterSecret},
		Type:       typeCluster,
		Data: map[string][]byte{
			keyCACert: c.Authority.CertPEM, keyCAKey: c.Authority.KeyPEM, keyGossip: c.GossipKey,
		},
	}
}

// LoadCluster reads the cluster's secrets from the state.
func LoadCluster(v fsm.View) (Cluster, error) {
	o, ok := v.Get(fsm.Key{Resource: "secrets", Namespace: Namespace, Name: clusterSecret})
	if !ok {
		return Cluster{}, ErrNoCluster
	}
	data := o.Value.(*corev1.Secret).Data
	authority, err := pki.LoadAuthority(data[keyCACert], data[keyCAKey])
	if err != nil {
		return Cluster{}, fmt.Errorf("secret %s/%s: %w", Namespace, clusterSecret, err)
	}
	return Cluster{authority, data[keyGossip]}, nil
}

// TokenSecret is the object that keeps a join token. A zero expiry means never.
func TokenSecret(t pki.Token, expires time.Time) *corev1.Secret {
	data := map[string][]byte{keyRole: []byte(t.Role), keyHash: []byte(t.SecretHash())}
	if !expires.IsZero() {
		data[keyExpires] = []byte(expires.UTC().Format(time.RFC3339))
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: tokenPrefix + t.ID},
		Type:       typeToken,
		Data:       data,
	}
}
