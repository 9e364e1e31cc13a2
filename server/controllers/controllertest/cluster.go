package controllertest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
	"github.com/holt-project/holt/server/controllers/writer"
	"github.com/holt-project/holt/server/kinds"
	"github.com/holt-project/holt/server/ownership"
)

// TB is what a Cluster needs of a test. *testing.T and *rapid.T have it.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// ErrNoNamespace refuses what a terminating or missing namespace does not take.
var ErrNoNamespace = errors.New("the namespace takes nothing new")

// Cluster is a store with everything around it that control loops need.
type Cluster struct {
	t      TB
	Kinds  *kinds.Registry
	Store  *fsm.Store
	Writer *writer.Writer
	// Now is what plans take for the time. Move it, or leave it zero for the clock's, which a bubble makes virtual.
	Now time.Time
	// Refuse, unless nil, fails proposals.
	Refuse func(ops []fsm.Op) error

	mu    sync.Mutex // guards index: controllers that run concurrently propose concurrently
	index uint64
}

// New makes a cluster with the namespace default.
func New(t TB) *Cluster {
	reg := kinds.Builtin()
	c := &Cluster{t: t, Kinds: reg, Store: fsm.New(reg.Schema(), 0)}
	c.Writer = writer.New(reg, c.Store.View, c, ownership.New(), c.admit)
	c.Create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceDefault}})
	return c
}

// Propose applies the ops at once.
func (c *Cluster) Propose(_ context.Context, ops []fsm.Op) ([]fsm.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Refuse != nil {
		if err := c.Refuse(ops); err != nil {
			return nil, err
		}
	}
	data, err := fsm.Command{Ops: ops}.Encode()
	if err != nil {
		return nil, err
	}
	c.index++
	return c.Store.Apply(c.index, data)
}

func (c *Cluster) admit(k *kinds.Kind, obj fsm.Value) error {
	if !k.Namespaced {
		return nil
	}
	ns, ok := c.Store.View().Get(fsm.Key{Resource: "namespaces", Name: obj.GetNamespace()})
	if !ok || ns.Value.GetDeletionTimestamp() != nil {
		return ErrNoNamespace
	}
	return nil
}

// Time is the time that plans get.
func (c *Cluster) Time() time.Time {
	if c.Now.IsZero() {
		return time.Now()
	}
	return c.Now
}

// kindOf finds the registration of an object's Go type.
func (c *Cluster) kindOf(obj fsm.Value) *kinds.Kind {
	c.t.Helper()
	i := slices.IndexFunc(c.Kinds.All(), func(k *kinds.Kind) bool { return sameType(k.New(), obj) })
	if i < 0 {
		c.t.Fatalf("no kind is registered for %T", obj)
	}
	return c.Kinds.All()[i]
}

// write carries out one change as a client's and fails the test if that fails.
func (c *Cluster) write(verb controllers.Verb, obj fsm.Value, force bool) {
	c.t.Helper()
	if err := c.Try(verb, obj, force); err != nil {
		c.t.Fatalf("change %s/%s: %v", obj.GetNamespace(), obj.GetName(), err)
	}
}

// Try carries out one change and returns what became of it.
func (c *Cluster) Try(verb controllers.Verb, obj fsm.Value, force bool) error {
	c.t.Helper()
	return c.Writer.Write(context.Background(), "test", []controllers.Change{{
		Verb: verb, Object: obj, Resource: c.kindOf(obj).GroupResource().String(), Force: force}})[0]
}

// Create stores a new object, defaulted and validated as the API does.
func (c *Cluster) Create(objs ...fsm.Value) {
	c.t.Helper()
	for _, obj := range objs {
		if obj.GetNamespace() == "" && c.kindOf(obj).Namespaced {
			obj.SetNamespace(metav1.NamespaceDefault)
		}
		c.write(controllers.Create, obj, false)
	}
}

// Delete deletes as a client would: gracefully.
func (c *Cluster) Delete(obj fsm.Value) {
	c.t.Helper()
	c.write(controllers.Delete, obj, false)
}

// Remove deletes without grace.
func (c *Cluster) Remove(obj fsm.Value) {
	c.t.Helper()
	c.write(controllers.Delete, obj, true)
}

// Get returns a copy of an object of the type of T in the namespace default, or of a cluster-scoped one.
func Get[T fsm.Value](c *Cluster, name string) T {
	c.t.Helper()
	obj, ok := Find[T](c, name)
	if !ok {
		c.t.Fatalf("%T %s does not exist", obj, name)
	}
	return obj
}

// Find is Get for an object that may be gone.
func Find[T fsm.Value](c *Cluster, name string) (obj T, ok bool) {
	c.t.Helper()
	o, ok := c.Store.View().Get(c.kindOf(obj).Key(metav1.NamespaceDefault, name))
	if !ok {
		return obj, false
	}
	return o.Value.DeepCopyObject().(T), true
}

// List returns copies of all objects of the type of T.
func List[T fsm.Value](c *Cluster) []T {
	c.t.Helper()
	var zero T
	var all []T
	for o := range c.Store.View().List(c.kindOf(zero).GroupResource().String(), "") {
		all = append(all, o.Value.DeepCopyObject().(T))
	}
	return all
}

// Edit changes metadata and specification of an object.
func Edit[T fsm.Value](c *Cluster, name string, change func(T)) {
	c.t.Helper()
	obj := Get[T](c, name)
	change(obj)
	c.write(controllers.Update, obj, false)
}

// EditStatus changes the status of an object.
func EditStatus[T fsm.Value](c *Cluster, name string, change func(T)) {
	c.t.Helper()
	obj := Get[T](c, name)
	change(obj)
	c.write(controllers.UpdateStatus, obj, false)
}
