package seal

import "sync/atomic"

// Holder holds the ring that a process uses at present.
type Holder struct{ ring atomic.Pointer[Ring] }

// NewHolder makes a holder of r.
func NewHolder(r Ring) *Holder {
	h := new(Holder)
	h.Swap(r)
	return h
}

// Ring returns the present ring.
func (h *Holder) Ring() Ring { return *h.ring.Load() }

// Swap makes r the present ring.
func (h *Holder) Swap(r Ring) { h.ring.Store(&r) }
