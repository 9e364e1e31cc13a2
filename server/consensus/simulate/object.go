package simulate

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/fsm"
)

// object is the kind of object that clients write. On the log it is its UID and the id of the op that wrote it, which
// no two ops share.
type object struct {
	metav1.TypeMeta
	metav1.ObjectMeta
	id string
}

// DeepCopyObject implements runtime.Object.
func (o *object) DeepCopyObject() runtime.Object {
	return &object{o.TypeMeta, *o.ObjectMeta.DeepCopy(), o.id}
}

func encode(uid, id string) []byte { return []byte(uid + " " + id) }

func decode(raw []byte) (uid, id string) {
	uid, id, _ = strings.Cut(string(raw), " ")
	return uid, id
}

// resources are the kinds that the clusters know: two, so that a watch of one sees the other's silence.
var resources = []string{"lamps", "otters"}

// eventsKept is small, so that slow watchers fall behind.
const eventsKept = 64

func newStore() *fsm.Store {
	decodeObject := func(raw []byte) (fsm.Value, error) {
		uid, id := decode(raw)
		return &object{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)}, id: id}, nil
	}
	byUID := map[string]fsm.IndexFunc{"uid": func(v fsm.Value) []string { return []string{string(v.GetUID())} }}
	var known []fsm.Resource
	for _, name := range resources {
		known = append(known, fsm.Resource{Name: name, Decode: decodeObject})
	}
	return fsm.New(fsm.NewSchema(byUID, known...), eventsKept)
}
