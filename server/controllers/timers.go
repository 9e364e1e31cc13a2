package controllers

import (
	"container/heap"
	"time"

	"github.com/holt-project/holt/fsm"
)

// timers knows when which keys must be planned again. A key has one time at most.
type timers struct {
	at map[fsm.Key]time.Time
	// queue is ordered by time. It may hold outdated entries: those whose time is not the one in at.
	queue timerQueue
}

type timer struct {
	key fsm.Key
	at  time.Time
}

// set gives the key a time in place of the one that it has; the zero time takes that away.
func (t *timers) set(k fsm.Key, at time.Time) {
	have, ok := t.at[k]
	switch {
	case at.IsZero():
		delete(t.at, k)
	case !ok || !have.Equal(at):
		if t.at == nil {
			t.at = map[fsm.Key]time.Time{}
		}
		t.at[k] = at
		heap.Push(&t.queue, timer{k, at})
	}
}

// due takes out the keys whose time has come.
func (t *timers) due(now time.Time) []fsm.Key {
	var keys []fsm.Key
	for at, any := t.next(); any && !at.After(now); at, any = t.next() {
		k := heap.Pop(&t.queue).(timer).key
		delete(t.at, k)
		keys = append(keys, k)
	}
	return keys
}

// next returns the earliest time.
func (t *timers) next() (time.Time, bool) {
	for len(t.queue) > 0 {
		first := t.queue[0]
		if at, ok := t.at[first.key]; ok && at.Equal(first.at) {
			return first.at, true
		}
		heap.Pop(&t.queue)
	}
	return time.Time{}, false
}

// timerQueue implements heap.Interface.
type timerQueue []timer

func (q timerQueue) Len() int           { return len(q) }
func (q timerQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q timerQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *timerQueue) Push(x any)        { *q = append(*q, x.(timer)) }

func (q *timerQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}
