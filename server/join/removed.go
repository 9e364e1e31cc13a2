package join

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
)

// removedPrefix begins the names of the ConfigMaps that remember which servers were removed on purpose. They are
// objects like all else, so that every server knows and no snapshot forgets. To delete one lets the server come back.
const removedPrefix = "holt-removed-"

const (
	keyServer  = "server"
	keyAddress = "address"
	keyRemoved = "removed" // when
)

func removedName(id string) string {
	_, incarnation, _ := strings.Cut(id, "/")
	return removedPrefix + incarnation
}

// RemovedServer is the object that remembers that a member was removed on purpose.
func RemovedServer(m consensus.Member, when time.Time) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: removedName(m.ID)},
		Data:       map[string]string{keyServer: m.ID, keyAddress: m.Address, keyRemoved: when.UTC().Format(time.RFC3339)},
	}
}

// Removed says why the server of that ID must stay out, or nothing.
func Removed(v fsm.View, id string) string {
	o, ok := v.Get(fsm.Key{Resource: "configmaps", Namespace: Namespace, Name: removedName(id)})
	if !ok {
		return ""
	}
	data := o.Value.(*corev1.ConfigMap).Data
	if data[keyServer] != id {
		return ""
	}
	name, _, _ := strings.Cut(id, "/")
	return fmt.Sprintf("the server %s was removed from the cluster at %s: empty its data folder to let it join anew, with a token "+
		"of: holt token create --role server", name, data[keyRemoved])
}
