package server

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/gossip"
	"github.com/holt-project/holt/internal/pki"
	"github.com/holt-project/holt/server/admission"
	"github.com/holt-project/holt/server/controllers"
	"github.com/holt-project/holt/server/controllers/deployment"
	"github.com/holt-project/holt/server/controllers/endpointslice"
	"github.com/holt-project/holt/server/controllers/eventttl"
	"github.com/holt-project/holt/server/controllers/garbage"
	"github.com/holt-project/holt/server/controllers/namespace"
	"github.com/holt-project/holt/server/controllers/nodeipam"
	"github.com/holt-project/holt/server/controllers/nodelifecycle"
	"github.com/holt-project/holt/server/controllers/replicaset"
	"github.com/holt-project/holt/server/controllers/writer"
	"github.com/holt-project/holt/server/kinds"
	"github.com/holt-project/holt/server/liveness"
	"github.com/holt-project/holt/server/scheduler"
)

// bootstrapRetry is the pause before the cluster's first objects are tried again.
const bootstrapRetry = 200 * time.Millisecond

// lead is being the leader: it starts every service, and returns once ctx has ended and all of them have.
func (s *server) lead(ctx context.Context) {
	w := writer.New(s.kinds, s.store.View, s.node, s.owners, s.admitPlanned)
	s.backups.tidy(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.node.Group().Tend(ctx, registrar{s}.policy()) })
	s.bootstrap(ctx)
	for _, c := range s.controllers(time.Now()) {
		wg.Go(func() { controllers.Run(ctx, c, s.store, w, s.Log) })
	}
	wg.Go(func() { s.keepEndpoints(ctx) })
}

// controllers lists every control loop.
func (s *server) controllers(since time.Time) []controllers.Controller {
	return []controllers.Controller{
		nodeipam.New(s.ClusterCIDR),
		liveness.New(members{s.pool}, since),
		nodelifecycle.New(),
		scheduler.New(),
		deployment.New(),
		replicaset.New(),
		endpointslice.New(),
		namespace.New(s.namespaced()),
		garbage.New(s.kinds),
		eventttl.New(),
	}
}

func (s *server) namespaced() []string {
	var names []string
	for _, k := range s.kinds.All() {
		if k.Namespaced {
			names = append(names, k.GroupResource().String())
		}
	}
	return names
}

// admitPlanned is the admission of what control loops create: the namespace must not be going, and what a pod does
// not say is filled in as for a client's.
func (s *server) admitPlanned(k *kinds.Kind, obj fsm.Value) error {
	v := s.store.View()
	if k.Namespaced {
		ns, ok := v.Get(fsm.Key{Resource: "namespaces", Name: obj.GetNamespace()})
		if !ok || ns.Value.GetDeletionTimestamp() != nil {
			return apierrors.NewForbidden(k.GroupResource(), obj.GetName(), terminating(obj.GetNamespace()))
		}
	}
	a := &admission.Attributes{Operation: admission.Create, Kind: k, Namespace: obj.GetNamespace(), Name: obj.GetName(),
		Object: obj, View: v}
	return admission.DefaultTolerations(s.UnreachableSeconds)(context.Background(), a)
}

// terminating is a namespace that takes nothing new.
type terminating string

func (t terminating) Error() string {
	return "namespace " + string(t) + " does not exist or is being terminated"
}

// members shows the agents of the gossip pool to liveness.
type members struct{ pool *gossip.Pool }

func (m members) Alive(node string) bool {
	return m.pool.Alive(gossip.MemberName(pki.RoleAgent, node))
}

func (m members) Seen(node string) bool {
	return m.pool.Seen(gossip.MemberName(pki.RoleAgent, node))
}

func (m members) LostAt(node string) time.Time {
	return m.pool.LostAt(gossip.MemberName(pki.RoleAgent, node))
}

func (m members) Changed() <-chan struct{} { return m.pool.Changed() }

// aliveNode reports whether gossip knows a living node of the role and name.
func (s *server) aliveNode(role, name string) bool {
	return s.pool.Alive(gossip.MemberName(role, name))
}

// gossipPeers are the addresses of all nodes: the servers that are members, and the agents that have a Node.
func (s *server) gossipPeers() []string {
	var peers []string
	for _, m := range s.node.Members() {
		peers = append(peers, s.gossipAddress(hostOf(m.Address)))
	}
	for o := range s.store.View().List("nodes", "") {
		for _, a := range o.Value.(*corev1.Node).Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				peers = append(peers, s.gossipAddress(a.Address))
			}
		}
	}
	return peers
}
