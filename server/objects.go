package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/folder"
	"github.com/holt-project/holt/internal/pki"
	"github.com/holt-project/holt/server/auth"
	"github.com/holt-project/holt/server/join"
	"github.com/holt-project/holt/server/keyring"
)

// apiService is the Service by which pods find the API.
const apiService = "kubernetes"

// bootstrap makes the objects that every cluster has, until they are there or leadership ends.
func (s *server) bootstrap(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.ensureFirst(ctx)
		if err == nil {
			return
		}
		s.Log.Warn("the cluster's first objects could not be made; it is tried again", "error", err)
		select {
		case <-time.After(bootstrapRetry):
		case <-ctx.Done():
		}
	}
}

// ensureFirst makes those of the cluster's first objects that are missing.
func (s *server) ensureFirst(ctx context.Context) error {
	ops, err := s.firstOps()
	if err != nil || len(ops) == 0 {
		return err
	}
	_, err = s.node.Propose(ctx, ops) // what exists by now fails its own op only
	return err
}

// firstOps creates what is missing.
func (s *server) firstOps() ([]fsm.Op, error) {
	objs := []fsm.Value{}
	for _, name := range []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease} {
		objs = append(objs, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	keys, err := keyring.ListingOf(s.keys.Ring()).Secret()
	if err != nil {
		return nil, err
	}
	objs = append(objs, s.apiServiceObject(), keys)
	if f := s.found.Load(); f != nil {
		authority, err := pki.LoadAuthority(f.CACert, f.CAKey)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.path(bootstrapFile), err)
		}
		objs = append(objs, join.Cluster{Authority: authority, GossipKey: f.GossipKey}.Secret())
		for _, t := range f.Tokens {
			objs = append(objs, join.TokenSecret(t, time.Time{}))
		}
	}
	var ops []fsm.Op
	view := s.store.View()
	for _, obj := range objs {
		op, err := s.createOp(obj)
		if err != nil {
			return nil, err
		}
		if _, exists := view.Get(op.Key()); !exists {
			ops = append(ops, op)
		}
	}
	return ops, nil
}

// createOp prepares an object of our own as the API would.
func (s *server) createOp(obj fsm.Value) (fsm.Op, error) {
	k := s.kinds.Of(obj)
	obj.SetUID(types.UID(uuid.NewString()))
	obj.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	if k.Default != nil {
		k.Default(obj)
	}
	if k.Prepare != nil {
		k.Prepare(obj, nil)
	}
	raw, err := k.Encode(obj)
	key := k.Key(obj.GetNamespace(), obj.GetName())
	return fsm.Op{Verb: fsm.Create, Resource: key.Resource, Namespace: key.Namespace, Name: key.Name, Raw: raw}, err
}

func (s *server) apiServiceObject() *corev1.Service {
	ip := s.serviceAddress(KubernetesAddress).String()
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: apiService,
			Labels: map[string]string{"component": "apiserver", "provider": "kubernetes"}},
		Spec: corev1.ServiceSpec{
			ClusterIP: ip, ClusterIPs: []string{ip}, Type: corev1.ServiceTypeClusterIP,
			Ports: []corev1.ServicePort{{Name: "https", Protocol: corev1.ProtocolTCP, Port: 443,
				TargetPort: intstr.FromInt32(int32(s.Port))}},
		},
	}
}

// keepEndpoints keeps the API's own Service, should somebody delete it, and its EndpointSlice equal to the servers that
// gossip knows to live.
func (s *server) keepEndpoints(ctx context.Context) {
	for ctx.Err() == nil {
		changed := s.pool.Changed()
		if err := errors.Join(s.ensureFirst(ctx), s.writeEndpoints(ctx)); err != nil && ctx.Err() == nil {
			s.Log.Warn("the endpoints of the API could not be written", "error", err)
		}
		select {
		case <-changed:
		case <-time.After(endpointsInterval):
		case <-ctx.Done():
		}
	}
}

// endpointsInterval is how often the API's endpoints are compared with the members; gossip tells sooner.
const endpointsInterval = 10 * time.Second

func (s *server) writeEndpoints(ctx context.Context) error {
	want := s.endpoints()
	op, err := s.createOp(want)
	if err != nil {
		return err
	}
	if o, ok := s.store.View().Get(op.Key()); ok {
		next := o.Value.DeepCopyObject().(*discoveryv1.EndpointSlice)
		if equality.Semantic.DeepEqual(next.Endpoints, want.Endpoints) && equality.Semantic.DeepEqual(next.Ports, want.Ports) {
			return nil
		}
		next.Endpoints, next.Ports = want.Endpoints, want.Ports
		op.Verb, op.IfRevision = fsm.Update, o.Revision
		if op.Raw, err = s.kinds.ByStore(op.Resource).Encode(next); err != nil {
			return err
		}
	}
	results, err := s.node.Propose(ctx, []fsm.Op{op})
	if err != nil {
		return err
	}
	return results[0].Err
}

func (s *server) endpoints() *discoveryv1.EndpointSlice {
	name, port, protocol, ready := "https", int32(s.Port), corev1.ProtocolTCP, true
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: apiService,
			Labels: map[string]string{discoveryv1.LabelServiceName: apiService}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &protocol}},
	}
	for _, m := range s.node.Members() {
		if m.Name == s.Name || s.aliveNode(pki.RoleServer, m.Name) {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
				Addresses: []string{hostOf(m.Address)}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}})
		}
	}
	slices.SortFunc(slice.Endpoints, func(a, b discoveryv1.Endpoint) int { return cmp.Compare(a.Addresses[0], b.Addresses[0]) })
	return slice
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

func (s *server) gossipAddress(host string) string {
	return net.JoinHostPort(host, strconv.Itoa(int(s.GossipPort)))
}

// serverURLs are the base URLs of all members.
func (s *server) serverURLs() []string {
	var urls []string
	for _, m := range s.node.Members() {
		urls = append(urls, "https://"+m.Address)
	}
	return urls
}

// writeFiles leaves what an administrator needs in the data folder: a kubeconfig, and on the server that began the
// cluster the join tokens. Afterwards the founding is only in the store.
func (s *server) writeFiles() error {
	cluster, err := join.LoadCluster(s.store.View())
	if err != nil {
		return err
	}
	if f := s.found.Load(); f != nil {
		for role, file := range map[string]string{pki.RoleServer: serverTokenFile, pki.RoleAgent: agentTokenFile} {
			if err := folder.WriteFile(s.path(file), []byte(f.token(role).String()+"\n")); err != nil {
				return err
			}
		}
	}
	if _, err := os.Stat(s.path(kubeconfigFile)); errors.Is(err, os.ErrNotExist) {
		pair, err := cluster.Authority.Issue(pki.Subject{User: "admin", Groups: []string{auth.AdminGroup}}, time.Now())
		if err != nil {
			return err
		}
		id := pki.Identity{Pair: pair, AuthorityPEM: cluster.Authority.CertPEM}
		if err := id.SaveKubeconfig(s.path(kubeconfigFile), s.url(), "admin"); err != nil {
			return err
		}
	}
	if err := os.Remove(s.path(bootstrapFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.found.Store(nil) // a token that is revoked must not come back with the next term
	return nil
}
