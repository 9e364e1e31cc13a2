package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/backup"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a store with a log of its own. It is a backup.State and a backup.Log.
type cluster struct {
	*fsm.Store
	lost failure // what Linearize and ProposeCommand fail with
	each func()  // called before each command, unless nil
}

func newCluster(t testing.TB, names ...string) *cluster {
	t.Helper()
	decode := func(raw []byte) (fsm.Value, error) {
		cm := &corev1.ConfigMap{}
		return cm, cm.Unmarshal(raw)
	}
	c := &cluster{Store: fsm.New(fsm.NewSchema(nil, fsm.Resource{Name: "configmaps", Decode: decode}), 0)}
	c.create(t, names...)
	return c
}

func (c *cluster) create(t testing.TB, names ...string) {
	t.Helper()
	var ops []fsm.Op
	for _, name := range names {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(uuid.NewString())}}
		raw, err := cm.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, fsm.Op{Verb: fsm.Create, Resource: "configmaps", Namespace: "default", Name: name, Raw: raw})
	}
	if _, err := c.apply(fsm.Command{Ops: ops}); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) apply(e fsm.Encoder) ([]fsm.Result, error) {
	data, err := e.Encode()
	if err != nil {
		return nil, err
	}
	return c.Apply(c.View().Index()+1, data)
}

func (c *cluster) Linearize(context.Context) error { return c.lost.get() }

func (c *cluster) ProposeCommand(ctx context.Context, e fsm.Encoder) (fsm.Result, error) {
	if c.each != nil {
		c.each()
	}
	if err := errors.Join(c.lost.get(), ctx.Err()); err != nil {
		return fsm.Result{}, err
	}
	results, err := c.apply(e)
	if err != nil {
		return fsm.Result{}, err
	}
	return results[0], nil
}

func (c *cluster) names() string {
	out := ""
	for o := range c.View().All() {
		out += o.Name + " "
	}
	return out
}

var here = backup.Header{
	Cluster: "c", Server: "s1", Holt: "test", Kubernetes: "v1.37.2+holt", ClusterCIDR: "10.42.0.0/16", ServiceCIDR: "10.43.0.0/16",
}

func newRing(t testing.TB) seal.Ring {
	t.Helper()
	ring, err := seal.NewRing(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func holding(ring seal.Ring) func() seal.Ring { return func() seal.Ring { return ring } }

// save returns a file of the cluster's state.
func save(t testing.TB, c *cluster, ring seal.Ring) []byte { return saveAs(t, c, ring, here) }

func saveAs(t testing.TB, c *cluster, ring seal.Ring, h backup.Header) []byte {
	t.Helper()
	saved, err := backup.NewSaver(c, holding(ring), h).Begin(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := saved.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func many(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("n%05d", i)
	}
	return names
}

// failure is an error that a test switches on and off.
type failure struct{ now atomic.Value }

func (f *failure) set(err error) { f.now.Store(&err) }

func (f *failure) get() error {
	if err, ok := f.now.Load().(*error); ok {
		return *err
	}
	return nil
}
