package node

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"runtime"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/internal/client"
)

var nodes = corev1.SchemeGroupVersion.WithResource("nodes")

const (
	// retryPause is the pause after a failed write.
	retryPause = 500 * time.Millisecond
	// lookInterval is how often the node looks at its own memory, disk and processes.
	lookInterval = 10 * time.Second
)

// Config describes the node.
type Config struct {
	Name       string
	IP         netip.Addr
	StreamPort int32
	DataDir    string
	Version    string
}

// API is what the registrar asks of the cluster. *client.Client implements it through Via.
type API interface {
	Get(ctx context.Context, name string) (*corev1.Node, error)
	Create(ctx context.Context, node *corev1.Node) error
	Update(ctx context.Context, node *corev1.Node) error
	UpdateStatus(ctx context.Context, node *corev1.Node) error
}

// Via makes an API of a client.
func Via(c *client.Client) API { return via{c} }

type via struct{ c *client.Client }

func (v via) Get(ctx context.Context, name string) (*corev1.Node, error) {
	n := &corev1.Node{}
	return n, v.c.Get(ctx, nodes, "", name, n)
}

func (v via) Create(ctx context.Context, n *corev1.Node) error { return v.c.Create(ctx, nodes, n) }

func (v via) Update(ctx context.Context, n *corev1.Node) error { return v.c.Update(ctx, nodes, n, "") }

func (v via) UpdateStatus(ctx context.Context, n *corev1.Node) error {
	return v.c.Update(ctx, nodes, n, "status")
}

// Registrar keeps one Node.
type Registrar struct {
	cfg Config
	api API
	log *slog.Logger
}

// New makes a registrar.
func New(cfg Config, api API, log *slog.Logger) *Registrar { return &Registrar{cfg, api, log} }

// Register creates the Node or brings its labels up to date, and returns it once it has a subnet for its pods. It
// waits for servers that do not answer, until ctx ends.
func (r *Registrar) Register(ctx context.Context) (*corev1.Node, error) {
	for first := true; ; first = false {
		n, err := r.ensure(ctx)
		if err == nil && n.Spec.PodCIDR != "" {
			return n, nil
		}
		if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsInvalid(err) {
			return nil, fmt.Errorf("the node cannot be registered: %w", err)
		}
		if err != nil && first {
			r.log.Info("the node is not registered yet; it is tried again", "error", err)
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

func pause(ctx context.Context) error {
	t := time.NewTimer(retryPause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Registrar) ensure(ctx context.Context) (*corev1.Node, error) {
	n, err := r.api.Get(ctx, r.cfg.Name)
	if apierrors.IsNotFound(err) {
		n = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: r.cfg.Name, Labels: r.labels()}}
		if err := r.api.Create(ctx, n); err != nil {
			return nil, err
		}
		return n, nil
	}
	if err != nil {
		return nil, err
	}
	want := maps.Clone(n.Labels)
	if want == nil {
		want = map[string]string{}
	}
	maps.Copy(want, r.labels())
	if !maps.Equal(want, n.Labels) {
		n.Labels = want
		return n, r.api.Update(ctx, n)
	}
	return n, nil
}

func (r *Registrar) labels() map[string]string {
	return map[string]string{
		corev1.LabelHostname:   r.cfg.Name,
		corev1.LabelOSStable:   runtime.GOOS,
		corev1.LabelArchStable: runtime.GOARCH,
	}
}

// Keep writes the status whenever the Node that seen returns does not have it, until ctx ends. changed yields when
// the Node may have changed.
func (r *Registrar) Keep(ctx context.Context, changed <-chan struct{}, seen func() *corev1.Node, images func() []corev1.ContainerImage) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		if n := seen(); n == nil || r.differs(n, images()) {
			if err := r.report(ctx, images()); err != nil && ctx.Err() == nil {
				r.log.Warn("the node's status could not be written; it is tried again", "error", err)
				if pause(ctx) == nil {
					continue
				}
			}
			// A leader that sees it otherwise must not make both write as fast as they can.
			if pause(ctx) != nil {
				return
			}
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *Registrar) differs(n *corev1.Node, images []corev1.ContainerImage) bool {
	next := n.DeepCopy()
	if err := r.fill(next, images); err != nil {
		r.log.Warn("the node's status cannot be told", "error", err)
		return false
	}
	return !equality.Semantic.DeepEqual(n.Status, next.Status)
}

// report writes the status. A Node that somebody deleted while the agent lives is registered anew.
func (r *Registrar) report(ctx context.Context, images []corev1.ContainerImage) error {
	n, err := r.ensure(ctx)
	if err != nil {
		return err
	}
	was := n.Status.DeepCopy()
	if err := r.fill(n, images); err != nil {
		return err
	}
	if equality.Semantic.DeepEqual(*was, n.Status) {
		return nil // the cache is behind
	}
	return r.api.UpdateStatus(ctx, n)
}

// fill sets what the agent knows; conditions that others set stay.
func (r *Registrar) fill(n *corev1.Node, images []corev1.ContainerImage) error {
	capacity, allocatable, err := resources(r.cfg.DataDir)
	if err != nil {
		return err
	}
	s := &n.Status
	s.Capacity, s.Allocatable = capacity, allocatable
	s.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: r.cfg.IP.String()},
		{Type: corev1.NodeHostName, Address: r.cfg.Name},
	}
	s.DaemonEndpoints.KubeletEndpoint.Port = r.cfg.StreamPort
	s.NodeInfo = systemInfo(r.cfg.Version)
	s.Images = images
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	for _, p := range pressures(r.cfg.DataDir) {
		set(s, p.condition, p.status(), p.reason(), p.message(), now)
	}
	set(s, corev1.NodeReady, corev1.ConditionTrue, "AgentReady", "The agent runs pods", now)
	return nil
}

// set changes a condition; its times change only if it does.
func set(s *corev1.NodeStatus, t corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string, now metav1.Time) {
	next := corev1.NodeCondition{Type: t, Status: status, Reason: reason, Message: message,
		LastTransitionTime: now, LastHeartbeatTime: now}
	for i := range s.Conditions {
		c := &s.Conditions[i]
		if c.Type != t {
			continue
		}
		if c.Status != status || c.Reason != reason || c.Message != message {
			*c = next
		}
		return
	}
	s.Conditions = append(s.Conditions, next)
}
