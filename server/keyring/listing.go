package keyring

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/seal"
)

// The Secret that lists the keys.
const (
	namespace = metav1.NamespaceSystem
	name      = "holt-keyring"
	dataKeys  = "keys"

	typeKeyring corev1.SecretType = "holt.dev/keyring"
)

var secretKey = fsm.Key{Resource: "secrets", Namespace: namespace, Name: name}

// Entry names one of the cluster's keys.
type Entry struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

// Listing is the cluster's keys, the primary one first. It holds no secret.
type Listing []Entry

// ListingOf lists the keys of a ring.
func ListingOf(ring seal.Ring) Listing {
	var l Listing
	for _, k := range ring.Keys() {
		l = append(l, Entry{k.ID, k.Created})
	}
	return l
}

// IDs returns the keys' IDs.
func (l Listing) IDs() []string {
	var ids []string
	for _, e := range l {
		ids = append(ids, e.ID)
	}
	return ids
}

func (l Listing) has(id string) bool { return slices.Contains(l.IDs(), id) }

// Secret is the object that keeps the listing.
func (l Listing) Secret() (*corev1.Secret, error) {
	data, err := json.Marshal(l)
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Type:       typeKeyring,
		Data:       map[string][]byte{dataKeys: data},
	}, err
}

// listed is the listing as it is in the state.
type listed struct {
	Listing
	secret   *corev1.Secret // nil if there is none yet
	revision uint64
}

// load reads the listing from the state. What nobody can read is an empty one.
func load(v fsm.View) listed {
	o, ok := v.Get(secretKey)
	if !ok {
		return listed{}
	}
	l := listed{secret: o.Value.(*corev1.Secret), revision: o.Revision}
	if err := json.Unmarshal(l.secret.Data[dataKeys], &l.Listing); err != nil {
		l.Listing = nil
	}
	return l
}

// op makes the update that replaces the listing, unless it has changed meanwhile.
func (l listed) op(next Listing, encode func(fsm.Value) ([]byte, error)) (fsm.Op, error) {
	if l.secret == nil {
		return fsm.Op{}, fmt.Errorf("%w: the Secret %s/%s is not there yet", ErrUnavailable, namespace, name)
	}
	fresh, err := next.Secret()
	if err != nil {
		return fsm.Op{}, err
	}
	secret := l.secret.DeepCopy()
	secret.Data = fresh.Data
	raw, err := encode(secret)
	return fsm.Op{Verb: fsm.Update, Resource: secretKey.Resource, Namespace: namespace, Name: name,
		IfRevision: l.revision, Raw: raw}, err
}
