package agent

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/agent/image"
	"github.com/holt-project/holt/agent/network"
)

// signal wakes one goroutine; signals that come before it wakes are one.
type signal chan struct{}

func newSignal() signal { return make(chan struct{}, 1) }

func (s signal) raise() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// changed is told by the caches what has changed.
func (a *agent) changed(what string) {
	switch what {
	case changedPods:
		a.wanted.raise()
	case changedNodes:
		a.nodes.raise()
		a.own.raise()
		a.subnet.raise()
	case changedServices:
		a.services.raise()
	}
}

// follow calls update after changes, taking together those that come close to each other, and every interval unless
// that is zero, until ctx ends.
func (a *agent) follow(ctx context.Context, changes signal, interval time.Duration, update func()) {
	var tick <-chan time.Time
	if interval > 0 {
		t := time.NewTicker(interval)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-changes:
			wait(ctx, settle)
		case <-tick:
		case <-ctx.Done():
			return
		}
		update()
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (a *agent) updateServices() {
	services, slices := a.cluster.services.List(), a.cluster.slices.List()
	a.proxy.Update(services, slices)
	a.dns.Update(services, slices)
	a.client.SetServers(a.servers())
}

// servers are those that the cluster names, and those that the agent was told of: a server that is down now may be
// the one that is up later.
func (a *agent) servers() []string {
	urls := a.cluster.serverURLs()
	for _, s := range slices.Concat(a.grant.Servers, a.Join) {
		if !slices.Contains(urls, s) {
			urls = append(urls, s)
		}
	}
	return urls
}

func (a *agent) updatePeers() {
	var peers []network.Peer
	for _, n := range a.cluster.nodes.List() {
		cidr, err := netip.ParsePrefix(n.Spec.PodCIDR)
		ip, ok := internalIP(n)
		if n.Name == a.Name || err != nil || !ok {
			continue // itself, or not registered yet
		}
		peers = append(peers, network.Peer{Node: n.Name, NodeIP: ip, PodCIDR: cidr})
	}
	slices.SortFunc(peers, func(x, y network.Peer) int { return cmp.Compare(x.Node, y.Node) })
	if err := a.network.SetPeers(peers); err != nil {
		a.Log.Error("the routes to other nodes could not be set", "error", err)
	}
}

// keepSubnet fails when the Node has another subnet than the agent runs with: a Node that was lost, as in a restore of the
// cluster's state, may get another one when it is registered anew. Started again, the agent gives new pods addresses of it.
func (a *agent) keepSubnet(ctx context.Context) error {
	for {
		if n := a.cluster.nodes.Get("", a.Name); n != nil && n.Spec.PodCIDR != "" && n.Spec.PodCIDR != a.node.Spec.PodCIDR {
			return fmt.Errorf("the node's pod subnet is %s now, and was %s: start the agent again", n.Spec.PodCIDR, a.node.Spec.PodCIDR)
		}
		select {
		case <-a.subnet:
		case <-ctx.Done():
			return nil
		}
	}
}

func internalIP(n *corev1.Node) (netip.Addr, bool) {
	for _, addr := range n.Status.Addresses {
		if addr.Type == corev1.NodeInternalIP {
			ip, err := netip.ParseAddr(addr.Address)
			return ip, err == nil
		}
	}
	return netip.Addr{}, false
}

func (a *agent) nodeAddrs() []netip.Addr {
	var addrs []netip.Addr
	for _, n := range a.cluster.nodes.List() {
		if ip, ok := internalIP(n); ok {
			addrs = append(addrs, ip)
		}
	}
	return addrs
}

// gossipPeers are the servers, and the other nodes as soon as they are known.
func (a *agent) gossipPeers() []string {
	var peers []string
	for _, url := range a.client.Servers() {
		if host, ok := hostOf(url); ok {
			peers = append(peers, net.JoinHostPort(host, strconv.Itoa(int(a.GossipPort))))
		}
	}
	return peers
}

// nodeImages tells what images the node has, largest first as Kubernetes does.
func (a *agent) nodeImages() []corev1.ContainerImage {
	const most = 50
	all := a.images.List()
	slices.SortFunc(all, func(x, y image.Image) int { return cmp.Or(cmp.Compare(y.Size, x.Size), cmp.Compare(x.ID, y.ID)) })
	var out []corev1.ContainerImage
	for _, img := range all[:min(len(all), most)] {
		out = append(out, corev1.ContainerImage{Names: img.Names, SizeBytes: img.Size})
	}
	return out
}
