package keyring

import (
	"context"
	"sync"
)

// Use is which keys a server uses. It is part of what /holt/v1/status tells.
type Use struct {
	// Primary is the key that it seals with.
	Primary string `json:"primary"`
	// Needed are the keys without which its disk cannot be read: one, unless keys are changing.
	Needed []string `json:"needed"`
}

// Server is how the keys are used on a server.
type Server struct {
	Name string `json:"name"`
	Use
	// Error says why it could not be asked; empty if it answered.
	Error string `json:"error,omitempty"`
}

// Report is the cluster's keys and who uses them.
type Report struct {
	Keys    Listing  `json:"keys"`
	Servers []Server `json:"servers"`
}

// Use tells which keys this server uses.
func (k *Keeper) Use() (Use, error) {
	needed, err := k.Disk.KeysNeeded()
	return Use{k.Keys.Ring().Primary(), needed}, err
}

// Report asks all servers.
func (k *Keeper) Report(ctx context.Context) Report {
	return Report{load(k.Store.View()).Listing, k.servers(ctx)}
}

// servers asks every member at once, this one included.
func (k *Keeper) servers(ctx context.Context) []Server {
	members := k.Cluster.Members()
	out := make([]Server, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			var err error
			out[i].Name = m.Name
			if m.Name == k.Name {
				out[i].Use, err = k.Use()
			} else {
				out[i].Use, err = k.peers.use(ctx, m)
			}
			if err != nil {
				out[i].Error = err.Error()
			}
		})
	}
	wg.Wait()
	return out
}
