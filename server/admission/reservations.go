package admission

import "sync"

// reservations keeps what attempts in flight have taken but the store does not show yet, so that two concurrent
// requests never get the same value.
//
// An attempt whose outcome is unknown may still come into force. Its reservation is kept until an attempt that began
// later has been committed: proposals take effect in order, so the earlier one is decided by then.
type reservations struct {
	mu sync.Mutex
	// seq numbers attempts; guarded by mu.
	seq uint64
	// taken maps a reserved value to the attempt that holds it; guarded by mu.
	taken map[string]uint64
	// orphans maps a value whose attempt has an unknown outcome to the number of the newest attempt at the time it
	// became so; guarded by mu.
	orphans map[string]uint64
}

func newReservations() *reservations {
	return &reservations{taken: map[string]uint64{}, orphans: map[string]uint64{}}
}

// held reports whether value is taken by another attempt than self. The caller holds mu.
func (r *reservations) held(value string, self uint64) bool {
	holder, ok := r.taken[value]
	return ok && holder != self
}

// begin numbers an attempt. The caller holds mu.
func (r *reservations) begin() uint64 {
	r.seq++
	return r.seq
}

// settle ends an attempt that held values.
func (r *reservations) settle(attempt uint64, values []string, o Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range values {
		if o == Unknown {
			r.orphans[v] = r.seq
		} else {
			delete(r.taken, v)
		}
	}
	if o != Committed {
		return
	}
	for v, newest := range r.orphans {
		if attempt > newest {
			delete(r.orphans, v)
			delete(r.taken, v)
		}
	}
}
