package memory

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// pause is how often a Trimmer looks.
	pause = time.Second
	// quiet is how many bytes a second a process allocates at most that has nothing to do.
	quiet = 1 << 20
	// worth is how many bytes there must be to give back, and at least a quarter of the live heap: collecting costs
	// as much as there is live.
	worth = 8 << 20
)

// Usage is what the heap has cost and holds, in bytes.
type Usage struct {
	// Allocated counts all allocations since the start.
	Allocated uint64
	// Live is what the last collection found in use.
	Live uint64
	// Held is what the process has for its heap, in use or not.
	Held uint64
}

// Trimmer gives memory back when nothing happens.
type Trimmer struct {
	Read   func() Usage
	Return func()
}

// New makes a Trimmer of this process's heap.
func New() Trimmer { return Trimmer{Read: read, Return: debug.FreeOSMemory} }

// Run trims until ctx ends.
func (t Trimmer) Run(ctx context.Context) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	before := t.Read().Allocated
	for calm := 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := t.Read()
		calm++
		if now.Allocated-before > quiet {
			calm = 0
		}
		before = now.Allocated
		if calm >= 2 && now.Held > now.Live+max(worth, now.Live/4) {
			t.Return()
			calm = 0
			before = t.Read().Allocated
		}
	}
}

func read() Usage {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	value := func(i int) uint64 { return samples[i].Value.Uint64() }
	return Usage{Allocated: value(0), Live: value(1), Held: value(2) + value(3) + value(4)}
}
