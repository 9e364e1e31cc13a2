package simulate

import (
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/fsm"
)

// history is all that was seen of a cluster from outside, and says what of it cannot be.
type history struct {
	began time.Time

	mu         sync.Mutex // guards the rest
	entries    map[entryName]*entry
	leaders    map[uint64]reign // by term
	committed  []uint64         // the terms of the committed entries, by index; the first is not used
	model      *model
	refused    map[string]error // ops of which a client was told that they will not be applied
	waiting    map[string]told  // results of entries that no server has applied yet
	floor      uint64           // a revision that some client knows to be there
	operations map[string]int
	violations []string
}

// reign is one leader's. When it began, floor was known.
type reign struct {
	leader string
	floor  uint64
}

// entryName is what two servers may have in common only if it is the same entry.
type entryName struct{ index, term uint64 }

// entry is what was written on a disk under a name.
type entry struct {
	kind     raft.LogType
	data     []byte
	sum      uint32
	made     int64  // when the leader has made it
	previous uint64 // the term of the entry before; zero if that was never seen
}

// told is the result that a client has got.
type told struct {
	server   string
	revision uint64
	err      error
}

const violationsKept = 20

func newHistory() *history {
	return &history{
		began: time.Now(), entries: map[entryName]*entry{}, leaders: map[uint64]reign{}, committed: []uint64{0},
		model: newModel(), refused: map[string]error{}, waiting: map[string]told{}, operations: map[string]int{},
	}
}

// violate writes down what cannot be. The caller holds mu.
func (h *history) violate(format string, args ...any) {
	if len(h.violations) < violationsKept {
		h.violations = append(h.violations, h.stamp()+" "+fmt.Sprintf(format, args...))
	}
}

// stamp is the simulated time since the start.
func (h *history) stamp() string { return fmt.Sprintf("%9.3fs", time.Since(h.began).Seconds()) }

// violation is violate for those who do not hold mu.
func (h *history) violation(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violate(format, args...)
}

func (h *history) count(operation string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations[operation]++
}

// wrote sees entries on their way to a server's disk; before is the one in front of them, or nil.
func (h *history) wrote(server string, logs []*raft.Log, before *raft.Log) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range logs {
		h.see(server, l, before)
		before = l
	}
}

func (h *history) see(server string, l, before *raft.Log) {
	name := entryName{l.Index, l.Term}
	e := entry{kind: l.Type, data: l.Data, sum: crc32.ChecksumIEEE(l.Data), made: l.AppendedAt.UnixNano()}
	if before != nil {
		e.previous = before.Term
	}
	old, known := h.entries[name]
	if !known {
		h.entries[name] = &e
		if l.Type == raft.LogNoop { // only a leader makes one, at its start, and it is on its own disk first
			h.led(server, l.Term)
		}
		return
	}
	if old.sum != e.sum || old.kind != e.kind || old.made != e.made {
		h.violate("%s: entry %d of term %d is another one than on another disk", server, l.Index, l.Term)
	}
	if old.previous != 0 && e.previous != 0 && old.previous != e.previous {
		h.violate("%s: before entry %d of term %d is one of term %d, on another disk one of term %d",
			server, l.Index, l.Term, e.previous, old.previous)
	}
	old.previous = max(old.previous, e.previous)
}

// leads sees a server that says it leads.
func (h *history) leads(server string, term uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.led(server, term)
}

func (h *history) led(server string, term uint64) {
	r, ok := h.leaders[term]
	switch {
	case !ok:
		h.leaders[term] = reign{server, h.floor}
	case r.leader != server:
		h.violate("%s and %s both lead in term %d", r.leader, server, term)
	}
}

// serves sees the view with which a leader's services start.
func (h *history) serves(server string, term uint64, view fsm.View) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.leaders[term]; r.leader == server && view.Revision() < r.floor {
		h.violate("%s: the services of term %d start at revision %d; revision %d was known before its election",
			server, term, view.Revision(), r.floor)
	}
}

// commit takes the entry, and all before it, for committed: a server has applied it.
func (h *history) commit(server string, at entryName) {
	if known := uint64(len(h.committed)) - 1; at.index <= known {
		if term := h.committed[at.index]; term != at.term {
			h.violate("%s has applied entry %d of term %d, another server that of term %d", server, at.index, at.term, term)
		}
		return
	}
	var chain []entryName
	for name := at; name.index >= uint64(len(h.committed)); {
		chain = append(chain, name)
		e := h.entries[name]
		if e == nil || e.previous == 0 && name.index != uint64(len(h.committed)) {
			h.violate("%s has applied entry %d of term %d, which no disk has ever had", server, name.index, name.term)
			return
		}
		name = entryName{name.index - 1, e.previous}
	}
	first := h.entries[chain[len(chain)-1]]
	if last := h.committed[len(h.committed)-1]; first.previous != 0 && first.previous != last {
		h.violate("%s has applied entry %d of term %d behind one of term %d, but one of term %d was committed", server,
			chain[len(chain)-1].index, chain[len(chain)-1].term, first.previous, last)
	}
	for i := len(chain) - 1; i >= 0; i-- {
		h.committed = append(h.committed, chain[i].term)
		h.learn(chain[i], h.entries[chain[i]])
	}
}

// learn carries out a committed entry in the model.
func (h *history) learn(name entryName, e *entry) {
	if e.kind != raft.LogCommand {
		return
	}
	c, err := fsm.DecodeCommand(e.data)
	if err == nil {
		err = h.model.apply(name.index, c)
	}
	if err != nil {
		h.violate("entry %d: %v", name.index, err)
	}
	for _, op := range c.Ops {
		_, id := decode(op.Raw)
		if refusal := h.refused[id]; refusal != nil {
			h.violate("op %s is in entry %d, but its client was told: %v", id, name.index, refusal)
		}
		if t, ok := h.waiting[id]; ok {
			delete(h.waiting, id)
			h.compare(id, t)
		}
	}
}

// compare holds what a client was told to what the model says.
func (h *history) compare(id string, t told) {
	want := h.model.results[id]
	if t.revision != want.revision || !errors.Is(t.err, want.err) {
		h.violate("%s: the result of op %s is revision %d, %v, and should be revision %d, %v",
			t.server, id, t.revision, t.err, want.revision, want.err)
	}
}

// acknowledge sees the results of a proposal as its client got them.
func (h *history) acknowledge(server string, ops []fsm.Op, results []fsm.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, op := range ops {
		_, id := decode(op.Raw)
		t := told{server: server, err: results[i].Err}
		if o := results[i].Object; o != nil {
			t.revision = o.Revision
			h.floor = max(h.floor, o.Revision)
		}
		if _, applied := h.model.results[id]; applied {
			h.compare(id, t)
		} else {
			h.waiting[id] = t
		}
	}
}

// refuse sees a proposal of which its client was told that it will not be applied.
func (h *history) refuse(ops []fsm.Op, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, op := range ops {
		_, id := decode(op.Raw)
		h.refused[id] = err
		if r, applied := h.model.results[id]; applied {
			h.violate("op %s is in entry %d, but its client was told: %v", id, r.index, err)
		}
	}
}

// known returns a revision that every read that begins now has to show.
func (h *history) known() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.floor
}

// read sees a linearizable read of key that began when floor was known.
func (h *history) read(server string, view fsm.View, key fsm.Key, floor uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if view.Revision() < floor {
		h.violate("%s: a linearizable read shows revision %d; revision %d was known before it began",
			server, view.Revision(), floor)
	}
	h.floor = max(h.floor, view.Revision())
	var got uint64
	if o, ok := view.Get(key); ok {
		got = o.Revision
	}
	if want := h.model.at(key, view.Index()); got != want && view.Index() < uint64(len(h.committed)) {
		h.violate("%s: %s has revision %d at entry %d, and should have %d", server, key, got, view.Index(), want)
	}
}

// applied sees a server's state, whose last entry is applied; at is a committed entry that is not before that.
func (h *history) applied(server string, view fsm.View, at entryName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.commit(server, at)
	want, ok := h.model.digests[view.Index()]
	if !ok || view.Digest() != want {
		h.violate("%s has digest %s at entry %d, and should have %q", server, view.Digest(), view.Index(), want)
	}
}

// lost returns the ops that were acknowledged and that no server has.
func (h *history) lost() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.waiting))
}
