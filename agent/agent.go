package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/agent/dns"
	"github.com/holt-project/holt/agent/image"
	"github.com/holt-project/holt/agent/network"
	"github.com/holt-project/holt/agent/node"
	"github.com/holt-project/holt/agent/pods"
	"github.com/holt-project/holt/agent/proxy"
	"github.com/holt-project/holt/agent/shim/binary"
	"github.com/holt-project/holt/agent/streams"
	"github.com/holt-project/holt/internal/client"
	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/internal/gossip"
	"github.com/holt-project/holt/internal/pki"
)

// Times of the agent.
const (
	settle          = 5 * time.Millisecond // changes that come within are taken together
	peersInterval   = 30 * time.Second     // routes are looked at again, should something have removed them
	shutdownTimeout = 2 * time.Second
	readTimeout     = 10 * time.Second
)

// agent is the wired process.
type agent struct {
	Config
	id      pki.Identity
	grant   enroll.Grant
	client  *client.Client
	cluster *cluster
	node    *corev1.Node

	images  *image.Store
	network *network.Network
	proxy   *proxy.Proxy
	dns     *dns.Server
	pods    *pods.Manager
	pool    *gossip.Pool

	// What has changed: the pods of this node, all nodes, this agent's Node and its subnet, Services and their endpoints.
	wanted, nodes, own, subnet, services signal
}

// Run runs an agent until ctx ends. Its pods go on.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := cfg.validate(); err != nil {
		return err
	}
	release, err := cfg.lock()
	if err != nil {
		return err
	}
	defer release()
	a := &agent{Config: cfg, wanted: newSignal(), nodes: newSignal(), own: newSignal(), subnet: newSignal(),
		services: newSignal()}
	if a.id, a.grant, err = cfg.identify(ctx); err != nil {
		return err
	}
	tls, err := a.id.ClientTLS()
	if err != nil {
		return err
	}
	if a.client, err = client.New(append(a.grant.Servers, cfg.Join...), tls, "holt-agent/"+cfg.Version); err != nil {
		return err
	}
	defer a.client.Close()
	return a.run(ctx)
}

// run starts the parts in the order in which they need each other, and joins them all.
func (a *agent) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	// What goroutines use is closed only after all of them have ended.
	defer a.close()
	defer wg.Wait()
	defer cancel()

	pool, err := gossip.Start(gossip.Config{Name: gossip.MemberName(pki.RoleAgent, a.Name), Address: a.NodeIP.String(),
		Port: int(a.GossipPort), Key: a.grant.GossipKey}, a.Log)
	if err != nil {
		return err
	}
	a.pool = pool
	wg.Go(func() { a.pool.Run(ctx, a.gossipPeers) })

	registrar := node.New(node.Config{Name: a.Name, IP: a.NodeIP, StreamPort: StreamPort, DataDir: a.DataDir,
		Version: a.Version}, node.Via(a.client), a.Log)
	if a.node, err = registrar.Register(ctx); err != nil {
		return err
	}
	a.cluster = newCluster(a.client, a.Name, a.changed, a.Log)
	a.startCaches(ctx, &wg)
	if err := a.openStores(ctx); err != nil {
		return err
	}
	if err := a.openNetwork(ctx); err != nil {
		return err
	}
	if err := a.openPods(); err != nil {
		return err
	}
	return a.serve(ctx, &wg, registrar)
}

// close gives back what was opened. Pods and their network stay.
func (a *agent) close() {
	if a.network != nil {
		a.network.Close()
	}
	if a.images != nil {
		_ = a.images.Close() // pulls are cancelled; what is stored is stored
	}
	if a.pool != nil {
		_ = a.pool.Close() // the sockets go with the process
	}
}

// startCaches begins to follow the API; nothing waits for it yet.
func (a *agent) startCaches(ctx context.Context, wg *sync.WaitGroup) {
	for _, run := range []func(context.Context){a.cluster.pods.Run, a.cluster.nodes.Run, a.cluster.services.Run,
		a.cluster.slices.Run, a.cluster.writeEvents} {
		wg.Go(func() { run(ctx) })
	}
}

func (a *agent) openStores(ctx context.Context) error {
	var err error
	if a.images, err = image.Open(a.data("images"), image.Options{}, a.Log); err != nil {
		return err
	}
	if a.ImportDir == "" {
		return nil
	}
	if err := a.images.ImportFolder(ctx, a.ImportDir); err != nil {
		a.Log.Error("some images could not be imported", "folder", a.ImportDir, "error", err)
	}
	return nil
}

func (a *agent) openNetwork(ctx context.Context) error {
	cidr, err := netip.ParsePrefix(a.node.Spec.PodCIDR)
	if err != nil {
		return fmt.Errorf("node %s: spec.podCIDR: %w", a.Name, err)
	}
	g := a.grant.Cluster
	if a.network, err = network.Setup(ctx, network.Config{Node: a.Name, NodeIP: a.NodeIP, PodCIDR: cidr,
		ClusterCIDR: g.ClusterCIDR, ServiceCIDR: g.ServiceCIDR, StateDir: a.data("network")}, a.Log); err != nil {
		return err
	}
	resolver := netip.AddrPortFrom(g.DNS, 53)
	a.dns = dns.New(dns.Config{Addrs: []netip.AddrPort{resolver}, Domain: g.Domain,
		Internal: []netip.Prefix{g.ClusterCIDR, g.ServiceCIDR}, ResolvConf: a.ResolvConf}, a.Log)
	if err := a.dns.Listen(); err != nil {
		return err
	}
	a.proxy = proxy.New(proxy.Config{Node: a.Name, NodeIP: a.NodeIP, PodCIDR: cidr, ClusterCIDR: g.ClusterCIDR,
		ServiceCIDR: g.ServiceCIDR, NodePorts: true, NodeAddrs: a.nodeAddrs, Reserved: []netip.AddrPort{resolver}}, a.Log)
	return nil
}

func (a *agent) openPods() error {
	shim, err := binary.WriteOut(a.data("bin"))
	if err != nil {
		return err
	}
	a.pods = pods.New(pods.Config{
		NodeIP: a.NodeIP, RunDir: a.RunDir, DataDir: a.DataDir, LogDir: a.data("logs"), CgroupRoot: a.CgroupRoot,
		ShimBinary: shim, ClusterDomain: a.grant.Cluster.Domain, Resolv: a.resolv, Capacity: a.node.Status.Capacity,
	}, pods.Parts{Cluster: a.cluster, Sources: a.cluster, Images: &imported{a.images, a.ImportDir}, Users: a.images,
		Links: a.network}, a.Log)
	return nil
}

// resolv is a pod's resolv.conf.
func (a *agent) resolv(pod *corev1.Pod) (string, error) {
	host, err := os.ReadFile(a.ResolvConf)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return dns.PodResolv(pod, dns.PodConfig{Domain: a.grant.Cluster.Domain, Servers: []netip.Addr{a.grant.Cluster.DNS},
		Host: string(host)})
}

// serve runs everything until ctx ends or a part fails.
func (a *agent) serve(ctx context.Context, wg *sync.WaitGroup, registrar *node.Registrar) error {
	tls, err := a.id.ServerTLS()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", netip.AddrPortFrom(a.NodeIP, StreamPort).String())
	if err != nil {
		return fmt.Errorf("logs: %w; stop the process that has the port", err)
	}
	web := &http.Server{Handler: streams.Handler(streams.Config{LogDir: a.data("logs"), Allow: allow}, a.pods, a.Log), TLSConfig: tls, ReadHeaderTimeout: readTimeout,
		ErrorLog: slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug)}
	failed := make(chan error, 4)
	run := func(what string, f func() error) {
		wg.Go(func() {
			if err := f(); err != nil && ctx.Err() == nil {
				failed <- fmt.Errorf("%s: %w", what, err)
			}
		})
	}
	run("logs", func() error { return web.ServeTLS(listener, "", "") })
	run("dns", func() error { return a.dns.Run(ctx) })
	run("proxy", func() error { return a.proxy.Run(ctx) })
	wg.Go(func() { a.follow(ctx, a.services, 0, a.updateServices) })
	wg.Go(func() { a.follow(ctx, a.nodes, peersInterval, a.updatePeers) })
	wg.Go(func() { a.follow(ctx, a.wanted, 0, a.pods.Sync) })
	run("pods", func() error { return a.runPods(ctx) })
	run("network", func() error { return a.keepSubnet(ctx) })
	wg.Go(func() { a.keepNode(ctx, registrar) })
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	shut, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if e := web.Shutdown(shut); e != nil {
		_ = web.Close() // logs that are followed are cut
	}
	return err
}

// runPods begins once it is known which pods are wanted: before that, those that run stay as they are.
func (a *agent) runPods(ctx context.Context) error {
	for _, synced := range []<-chan struct{}{a.cluster.pods.Synced(), a.cluster.services.Synced()} {
		select {
		case <-synced:
		case <-ctx.Done():
			return nil
		}
	}
	return a.pods.Run(ctx)
}

// keepNode reports the Node as ready from when pods can run.
func (a *agent) keepNode(ctx context.Context, registrar *node.Registrar) {
	select {
	case <-a.cluster.nodes.Synced():
	case <-ctx.Done():
		return
	}
	a.Log.Info("the node is registered", "node", a.Name, "pods", a.node.Spec.PodCIDR)
	if a.Ready != nil {
		a.Ready()
	}
	seen := func() *corev1.Node { return a.cluster.nodes.Get("", a.Name) }
	registrar.Keep(ctx, a.own, seen, a.nodeImages)
}
