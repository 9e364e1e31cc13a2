package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/holt-project/holt/internal/folder"
)

// ErrNoAddress says that the node's pod subnet has no free address.
var ErrNoAddress = errors.New("network: no free pod address on this node")

// leases is the durable record of which pod has which address. Its user serialises all calls.
type leases struct {
	path   string
	prefix netip.Prefix
	state  leaseFile
}

// leaseFile is what stands on the disk.
type leaseFile struct {
	// Last is the address given out last; the search for the next begins behind it.
	Last netip.Addr            `json:"last"`
	Pods map[string]netip.Addr `json:"pods"` // by pod UID
}

func openLeases(dir string, prefix netip.Prefix) (*leases, error) {
	l := &leases{path: filepath.Join(dir, "addresses.json"), prefix: prefix}
	raw, err := os.ReadFile(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("network: read the record of addresses: %w", err)
	default:
		if err := json.Unmarshal(raw, &l.state); err != nil {
			return nil, fmt.Errorf("network: the record of addresses %s is damaged; stop this node's pods and remove it: %w", l.path, err)
		}
	}
	if l.state.Pods == nil {
		l.state.Pods = map[string]netip.Addr{}
	}
	return l, nil
}

// take gives the pod its address: the one that it has, or the next free one behind the last given out.
func (l *leases) take(uid string) (netip.Addr, error) {
	if a, ok := l.state.Pods[uid]; ok {
		return a, nil
	}
	used := make(map[netip.Addr]bool, len(l.state.Pods))
	for _, a := range l.state.Pods {
		used[a] = true
	}
	first, count := l.usable()
	start := uint32(0)
	if l.prefix.Contains(l.state.Last) && !l.state.Last.Less(first) {
		start = number(l.state.Last) - number(first) + 1
	}
	for i := range count {
		a := address(number(first) + (start+i)%count)
		if used[a] {
			continue
		}
		before := l.state.Last
		l.state.Last, l.state.Pods[uid] = a, a
		if err := l.save(); err != nil {
			l.state.Last = before
			delete(l.state.Pods, uid)
			return netip.Addr{}, err
		}
		return a, nil
	}
	return netip.Addr{}, fmt.Errorf("%w: %s is full", ErrNoAddress, l.prefix)
}

// usable is the part of the subnet that pods may have: not the first address (the node's VXLAN device has
// it) and not the last, which some hosts take for a broadcast.
func (l *leases) usable() (first netip.Addr, count uint32) {
	total := uint32(1) << (32 - l.prefix.Bits())
	if total < 4 {
		return l.prefix.Addr(), 0
	}
	return l.prefix.Addr().Next(), total - 2
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// release gives back the addresses of the pods that drop names.
func (l *leases) release(drop func(uid string) bool) error {
	gone := map[string]netip.Addr{}
	for uid, a := range l.state.Pods {
		if drop(uid) {
			gone[uid] = a
			delete(l.state.Pods, uid)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	if err := l.save(); err != nil {
		for uid, a := range gone {
			l.state.Pods[uid] = a
		}
		return err
	}
	return nil
}

// save replaces the file as a whole: a crash leaves the old one or the new one.
func (l *leases) save() error {
	raw, err := json.Marshal(l.state)
	if err != nil {
		return fmt.Errorf("network: encode the record of addresses: %w", err)
	}
	if err := folder.WriteFile(l.path, raw); err != nil {
		return fmt.Errorf("network: write the record of addresses: %w", err)
	}
	return nil
}

// destroy forgets all addresses.
func (l *leases) destroy() error {
	l.state = leaseFile{Pods: map[string]netip.Addr{}}
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("network: remove the record of addresses: %w", err)
	}
	return nil
}
