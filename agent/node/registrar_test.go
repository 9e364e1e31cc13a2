package node_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/holt-project/holt/agent/node"
)

var nodes = corev1.Resource("nodes")

// cluster keeps one Node as the API does: writes with an old revision fail, and a new Node gets a subnet later.
type cluster struct {
	mu       sync.Mutex
	node     *corev1.Node
	revision int
	writes   int
	err      error // what every request fails with
	cidr     string
}

func (c *cluster) Get(context.Context, string) (*corev1.Node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return nil, c.err
	case c.node == nil:
		return nil, apierrors.NewNotFound(nodes, "n1")
	}
	return c.node.DeepCopy(), nil
}

func (c *cluster) put(n *corev1.Node) {
	c.revision++
	c.writes++
	n.ResourceVersion = strconv.Itoa(c.revision)
	c.node = n.DeepCopy()
}

func (c *cluster) Create(_ context.Context, n *corev1.Node) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	n.Spec.PodCIDR = c.cidr
	c.put(n)
	return nil
}

func (c *cluster) Update(_ context.Context, n *corev1.Node) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return c.err
	case c.node == nil:
		return apierrors.NewNotFound(nodes, n.Name)
	case n.ResourceVersion != c.node.ResourceVersion:
		return apierrors.NewConflict(nodes, n.Name, errors.New("modified"))
	}
	c.put(n)
	return nil
}

func (c *cluster) UpdateStatus(ctx context.Context, n *corev1.Node) error { return c.Update(ctx, n) }

func (c *cluster) seen() *corev1.Node {
	n, _ := c.Get(context.Background(), "n1")
	return n
}

func (c *cluster) change(f func(*cluster)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

func (c *cluster) written() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

func registrar(t *testing.T, c *cluster) *node.Registrar {
	t.Helper()
	return node.New(node.Config{Name: "n1", IP: netip.MustParseAddr("192.0.2.1"), StreamPort: 10250, DataDir: t.TempDir(),
		Version: "test"}, c, slog.New(slog.DiscardHandler))
}

func TestRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{err: errors.New("no server answers")}
		time.AfterFunc(5*time.Second, func() { c.change(func(c *cluster) { c.err = nil }) })
		time.AfterFunc(10*time.Second, func() { c.change(func(c *cluster) { c.node.Spec.PodCIDR = "10.42.3.0/24" }) })
		n, err := registrar(t, c).Register(t.Context())
		if err != nil || n.Spec.PodCIDR != "10.42.3.0/24" || n.Labels[corev1.LabelHostname] != "n1" {
			t.Errorf("%v, %v", n, err)
		}
		if c.written() != 1 {
			t.Errorf("%d writes", c.written())
		}
		c.change(func(c *cluster) { c.node.Labels = map[string]string{"mine": "x"} })
		n, err = registrar(t, c).Register(t.Context())
		if err != nil || n.Labels["mine"] != "x" || n.Labels[corev1.LabelHostname] != "n1" {
			t.Errorf("labels %v, %v", n.Labels, err)
		}
	})
}

func TestRegisterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, refused := range []error{apierrors.NewForbidden(nodes, "n1", errors.New("x")), apierrors.NewUnauthorized("x")} {
			if _, err := registrar(t, &cluster{err: refused}).Register(t.Context()); !errors.Is(err, refused) {
				t.Errorf("%v, not %v", err, refused)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := registrar(t, &cluster{}).Register(ctx); !errors.Is(err, context.DeadlineExceeded) { // never a subnet
			t.Errorf("the end of the context: %v", err)
		}
	})
}

func ready(n *corev1.Node) corev1.ConditionStatus {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status
		}
	}
	return "none"
}

func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{cidr: "10.42.3.0/24"}
		r := registrar(t, c)
		if _, err := r.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		changed := make(chan struct{}, 1)
		images := []corev1.ContainerImage{{Names: []string{"a"}}}
		var mu sync.Mutex
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.Keep(ctx, changed, c.seen, func() []corev1.ContainerImage {
				mu.Lock()
				defer mu.Unlock()
				return images
			})
		}()
		after := func(f func(*cluster)) int {
			before := c.written()
			c.change(f)
			changed <- struct{}{}
			time.Sleep(time.Minute)
			synctest.Wait()
			return c.written() - before
		}
		time.Sleep(time.Second)
		synctest.Wait()
		n := c.seen()
		if ready(n) != corev1.ConditionTrue || len(n.Status.Conditions) != 4 || n.Status.Capacity.Cpu().IsZero() ||
			n.Status.Allocatable.Memory().Cmp(*n.Status.Capacity.Memory()) >= 0 || n.Status.Addresses[0].Address != "192.0.2.1" ||
			n.Status.DaemonEndpoints.KubeletEndpoint.Port != 10250 || len(n.Status.Images) != 1 {
			t.Errorf("status %+v", n.Status)
		}
		if got := after(func(*cluster) {}); got != 0 {
			t.Errorf("%d writes without a change", got)
		}
		if got := after(func(c *cluster) { c.node.Labels["other"] = "x" }); got != 0 {
			t.Errorf("%d writes for what is not the agent's", got)
		}
		lost := func(c *cluster) {
			c.revision++
			c.node.ResourceVersion = strconv.Itoa(c.revision)
			for i := range c.node.Status.Conditions {
				if c.node.Status.Conditions[i].Type == corev1.NodeReady {
					c.node.Status.Conditions[i].Status = corev1.ConditionUnknown
				}
			}
		}
		if got := after(lost); got != 1 || ready(c.seen()) != corev1.ConditionTrue {
			t.Errorf("marked as lost: %d writes, ready %s", got, ready(c.seen()))
		}
		others := corev1.NodeCondition{Type: "Others", Status: corev1.ConditionTrue}
		after(func(c *cluster) { c.node.Status.Conditions = append(c.node.Status.Conditions, others); lost(c) })
		if got := c.seen().Status.Conditions; len(got) != 5 || got[4].Type != "Others" {
			t.Errorf("conditions %+v", got)
		}
		if got := after(func(c *cluster) { c.node = nil }); got != 2 || ready(c.seen()) != corev1.ConditionTrue {
			t.Errorf("deleted: %d writes, ready %s", got, ready(c.seen()))
		}
		after(func(c *cluster) { c.node, c.err = nil, errors.New("no server answers") })
		if got := after(func(c *cluster) { c.err = nil }); got != 2 {
			t.Errorf("deleted while no server answers: %d writes", got)
		}
		mu.Lock()
		images = append(images, corev1.ContainerImage{Names: []string{"b"}})
		mu.Unlock()
		if got := after(func(*cluster) {}); got != 1 || len(c.seen().Status.Images) != 2 {
			t.Errorf("a new image: %d writes", got)
		}
		cancel()
		<-done
	})
}
