package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netns"
)

// Attach gives the pod in the namespace at netnsPath its link, address and routes, and returns the address.
// Repeated, it repairs what is missing and returns the same address, also after a restart of the agent. After
// an error the address stays taken until Detach. ErrNoAddress says that the subnet is full.
func (n *Network) Attach(ctx context.Context, uid, netnsPath string) (netip.Addr, error) {
	if uid == "" {
		return netip.Addr{}, errors.New("network: attach: the pod has no UID")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return netip.Addr{}, err
	}
	pod, err := netns.GetFromPath(netnsPath)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("network: open the pod's namespace %s: %w", netnsPath, err)
	}
	defer pod.Close()
	if pod.Equal(n.node.ns) {
		return netip.Addr{}, fmt.Errorf("network: %s is the node's own namespace: a pod in the host's network has no link", netnsPath)
	}
	addr, err := n.leases.take(uid)
	if err != nil {
		return netip.Addr{}, err
	}
	if err := n.links.attach(ctx, linkName(uid), pod, addr); err != nil {
		return netip.Addr{}, fmt.Errorf("network: attach pod %s: %w", uid, err)
	}
	return addr, nil
}

// Detach removes the pod's link and gives its address back. A pod that has none is none to worry about.
func (n *Network) Detach(ctx context.Context, uid string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := n.links.remove(linkName(uid)); err != nil {
		return fmt.Errorf("network: detach pod %s: %w", uid, err)
	}
	return n.leases.release(func(have string) bool { return have == uid })
}

// Sweep removes links and addresses of all pods but those whose UIDs are in keep: what a crash left behind.
func (n *Network) Sweep(keep []string) error {
	uids := make(map[string]bool, len(keep))
	names := make(map[string]bool, len(keep))
	for _, uid := range keep {
		uids[uid], names[linkName(uid)] = true, true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.links.removeAllBut(names); err != nil {
		return fmt.Errorf("network: sweep: %w", err)
	}
	return n.leases.release(func(uid string) bool { return !uids[uid] })
}
