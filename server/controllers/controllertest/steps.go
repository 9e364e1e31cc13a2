package controllertest

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
)

// maxRounds is how many rounds a cluster may take to settle. More means that the controllers never agree.
const maxRounds = 400

// Loop is one controller that the test steps by hand.
type Loop struct {
	controllers.Controller
	c       *Cluster
	watches map[string]*fsm.Watch
	dirty   map[fsm.Key]bool
	again   map[fsm.Key]time.Time
	// Errs are the failures of the last step's changes.
	Errs []error
}

// Loop makes the controller ready to step. Everything is dirty at the start.
func (c *Cluster) Loop(ctl controllers.Controller) *Loop {
	l := &Loop{Controller: ctl, c: c, watches: map[string]*fsm.Watch{}, dirty: map[fsm.Key]bool{}, again: map[fsm.Key]time.Time{}}
	v := c.Store.View()
	for resource, keys := range ctl.Watches {
		w, err := c.Store.Watch(resource, "", v.Revision())
		if err != nil {
			c.t.Fatalf("watch %s: %v", resource, err)
		}
		l.watches[resource] = w
		for o := range v.List(resource, "") {
			l.mark(keys(v, o))
		}
	}
	return l
}

// Loops is Loop for many.
func (c *Cluster) Loops(all ...controllers.Controller) []*Loop {
	var loops []*Loop
	for _, ctl := range all {
		loops = append(loops, c.Loop(ctl))
	}
	return loops
}

func (l *Loop) mark(keys []fsm.Key) {
	for _, k := range keys {
		l.dirty[k] = true
	}
}

// MarkAll makes everything dirty, as a change in gossip or a new leader does.
func (l *Loop) MarkAll() {
	v := l.c.Store.View()
	for resource, keys := range l.Watches {
		for o := range v.List(resource, "") {
			l.mark(keys(v, o))
		}
	}
}

// Step plans every dirty key once, on one view, writes the changes, and returns them.
func (l *Loop) Step() []controllers.Change {
	l.c.t.Helper()
	l.take()
	v, now := l.c.Store.View(), l.c.Time()
	var changes []controllers.Change
	var keys []fsm.Key
	for _, k := range l.due(now) {
		p := l.Plan(v, k, now)
		if !p.Again.IsZero() {
			l.again[k] = p.Again
		}
		for _, ch := range p.Changes {
			changes, keys = append(changes, ch), append(keys, k)
		}
	}
	l.Errs = nil
	for i, err := range l.c.Writer.Write(context.Background(), l.Name, changes) {
		if err != nil {
			l.Errs = append(l.Errs, err)
			l.dirty[keys[i]] = true
		}
	}
	return changes
}

func (l *Loop) take() {
	for resource, keys := range l.Watches {
		events, err := l.watches[resource].Poll()
		if err != nil {
			l.c.t.Fatalf("poll %s: %v", resource, err)
		}
		v := l.c.Store.View()
		for _, e := range events {
			l.mark(keys(v, e.Object))
			if e.Prev != nil {
				l.mark(keys(v, e.Prev))
			}
		}
	}
}

// due takes the keys to plan, in an order that is the same in each run.
func (l *Loop) due(now time.Time) []fsm.Key {
	for k, at := range l.again {
		if !at.After(now) {
			l.dirty[k] = true
		}
	}
	var keys []fsm.Key
	for k := range l.dirty {
		keys = append(keys, k)
		delete(l.again, k)
	}
	slices.SortFunc(keys, func(a, b fsm.Key) int { return strings.Compare(a.String(), b.String()) })
	l.dirty = map[fsm.Key]bool{}
	return keys
}

// Next is when a key of the loop is to be planned again without an event; zero if none is.
func (l *Loop) Next() time.Time {
	var first time.Time
	for _, at := range l.again {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// Settle steps all loops until none changes anything. Between steps the kubelet, unless nil, does what nodes do.
func (c *Cluster) Settle(kubelet *Kubelet, loops ...*Loop) {
	c.t.Helper()
	var last []controllers.Change
	for range maxRounds {
		before := c.Store.View().Revision()
		busy := false
		for _, l := range loops {
			if changes := l.Step(); len(changes) > 0 {
				busy, last = true, changes
			}
		}
		if kubelet != nil {
			kubelet.Work()
		}
		if !busy && c.Store.View().Revision() == before {
			return
		}
	}
	c.t.Fatalf("the cluster does not settle; the last changes were of %s", describe(last))
}

// Idle fails the test if a sweep of everything changes anything: a settled cluster writes nothing.
func (c *Cluster) Idle(loops ...*Loop) {
	c.t.Helper()
	for _, l := range loops {
		l.MarkAll()
		if changes := l.Step(); len(changes) > 0 {
			c.t.Fatalf("%s changes a settled cluster: %s", l.Name, describe(changes))
		}
	}
}

func describe(changes []controllers.Change) (text string) {
	for _, ch := range changes {
		verb := []string{"create", "update", "status", "bind", "delete", "finalize", "record"}[ch.Verb]
		text += "\n" + verb + " " + ch.Resource + " " + ch.Object.GetName() + " " + ch.Event.Reason + " " + ch.Event.Message
	}
	return text
}

func sameType(a, b any) bool { return reflect.TypeOf(a) == reflect.TypeOf(b) }
