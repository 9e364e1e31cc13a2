package simulate

import (
	"context"
	"fmt"
	"time"
)

// fault is one kind of what can happen to a cluster.
type fault struct {
	name   string
	weight int
	do     func(c *cluster, s step, victim *server) (what string)
}

// faults are all kinds. Those that last undo themselves after step.lasts.
var faults = []fault{
	{"partition", 3, partition},
	{"one-way partition", 3, oneWay},
	{"bridge", 2, bridge},
	{"loss", 2, func(c *cluster, s step, v *server) string {
		return s.weather(c, v, "packets are lost", func(w *weather) { w.loss = s.amount / 2 })
	}},
	{"delay", 3, func(c *cluster, s step, v *server) string {
		return s.weather(c, v, "packets are late", func(w *weather) { w.delay = time.Duration(s.amount * float64(time.Second)) })
	}},
	{"duplication", 3, func(c *cluster, s step, v *server) string {
		return s.weather(c, v, "requests arrive again later", func(w *weather) { w.echo = s.amount / 2 })
	}},
	{"reset", 1, func(c *cluster, s step, v *server) string {
		other := s.with(c, v)
		c.net.reset(v.address, other.address)
		return "connections break between " + v.name + " and " + other.name
	}},
	{"slow disk", 2, func(c *cluster, s step, v *server) string {
		slow := time.Duration(s.amount * float64(200*time.Millisecond))
		v.platter.fault(func(p *platter) { p.slow = slow })
		c.later(s.lasts, func() { v.platter.fault(func(p *platter) { p.slow = 0 }) })
		return fmt.Sprintf("%s takes up to %v to sync, for %v", v.name, slow, s.lasts)
	}},
	{"disk stall", 2, func(c *cluster, s step, v *server) string {
		d := 2 * s.lasts
		v.platter.fault(func(p *platter) { p.stalled = time.Now().Add(d) })
		return fmt.Sprintf("%s syncs nothing for %v", v.name, d)
	}},
	{"disk error", 1, func(_ *cluster, _ step, v *server) string {
		v.platter.fault(func(p *platter) { p.failing = true })
		return "the next write of " + v.name + " fails"
	}},
	{"kill", 2, func(_ *cluster, _ step, v *server) string { v.crash(v.current(), false); return v.name }},
	{"power cut", 3, func(_ *cluster, _ step, v *server) string { v.crash(v.current(), true); return v.name }},
	{"power cut of a majority", 1, powerCuts},
	{"trap", 4, func(_ *cluster, s step, v *server) string {
		kinds := []string{writeEntries, writeCut, writeTerm, writeVote, writeVote, writeSnapshot}
		kind := kinds[int(s.amount*float64(len(kinds)))]
		v.platter.fault(func(p *platter) { p.trap = kind })
		return "the power of " + v.name + " fails at its next write of the kind " + kind
	}},
	{"stop", 1, func(c *cluster, _ step, v *server) string { c.spawn(v.stop); return v.name }},
	{"leadership transfer", 3, transfer},
	{"snapshot", 2, takeSnapshot},
	{"membership change", 2, func(c *cluster, _ step, v *server) string {
		c.spawn(func() { c.replace(v) })
		return v.name + " leaves, loses its disk, and joins again"
	}},
}

// run carries out a schedule.
func (c *cluster) run(steps []step) {
	for _, s := range steps {
		if !c.pause(s.after) {
			return
		}
		victim := s.on(c)
		c.happened(s.fault.name, s.fault.do(c, s, victim))
		c.look()
	}
}

// look sees who leads.
func (c *cluster) look() {
	for _, s := range c.servers {
		if p := s.up(); p != nil {
			p.status()
		}
	}
}

// on is the first server of a fault.
func (s step) on(c *cluster) *server {
	if s.victim != leaderVictim {
		return c.servers[s.victim]
	}
	if p := c.leader(); p != nil {
		return p.server
	}
	return c.servers[s.other]
}

// with is the second server of a fault.
func (s step) with(c *cluster, victim *server) *server {
	if other := c.servers[s.other]; other != victim {
		return other
	}
	return c.servers[(s.other+1)%len(c.servers)]
}

// later undoes a fault after some time, at the latest when all faults end.
func (c *cluster) later(d time.Duration, undo func()) {
	c.spawn(func() {
		c.pause(d)
		undo()
	})
}

// weather changes the links between the victim and one server, or all.
func (s step) weather(c *cluster, victim *server, what string, change func(*weather)) string {
	others := c.servers
	if s.amount < 0.3 {
		others = []*server{s.with(c, victim)}
	}
	for _, o := range others {
		s.change(c, victim, o, change)
		s.change(c, o, victim, change)
	}
	return fmt.Sprintf("%s between %s and %d others (%.2f), for %v", what, victim.name, len(others), s.amount, s.lasts)
}

// change changes one direction for some time, and then makes it healthy.
func (s step) change(c *cluster, from, to *server, change func(*weather)) {
	if from == to {
		return
	}
	c.net.set(from.address, to.address, change)
	c.later(s.lasts, func() { c.net.set(from.address, to.address, func(w *weather) { *w = weather{} }) })
}

func cut(w *weather) { w.down = true }

// partition cuts off the victim, and in larger clusters perhaps another server with it.
func partition(c *cluster, s step, victim *server) string {
	with := victim
	if len(c.servers) > 3 && s.amount < 0.5 {
		with = s.with(c, victim)
	}
	for _, o := range c.servers {
		if o != victim && o != with {
			for _, v := range []*server{victim, with} {
				s.change(c, v, o, cut)
				s.change(c, o, v, cut)
			}
		}
	}
	return fmt.Sprintf("%s and %s are cut off, for %v", victim.name, with.name, s.lasts)
}

func oneWay(c *cluster, s step, victim *server) string {
	what := "nothing reaches "
	for _, o := range c.servers {
		if s.amount < 0.5 {
			what = "nothing comes from "
			s.change(c, victim, o, cut)
		} else {
			s.change(c, o, victim, cut)
		}
	}
	return fmt.Sprintf("%s%s, for %v", what, victim.name, s.lasts)
}

// bridge leaves the victim as the only one that reaches everybody.
func bridge(c *cluster, s step, victim *server) string {
	var others []*server
	for _, o := range c.servers {
		if o != victim {
			others = append(others, o)
		}
	}
	half := len(others) / 2
	for _, a := range others[:half] {
		for _, b := range others[half:] {
			s.change(c, a, b, cut)
			s.change(c, b, a, cut)
		}
	}
	return fmt.Sprintf("only %s reaches everybody, for %v", victim.name, s.lasts)
}

func powerCuts(c *cluster, s step, victim *server) string {
	n := len(c.servers)/2 + 1
	if s.amount < 0.4 {
		n = len(c.servers)
	}
	for _, v := range c.servers {
		if n > 0 {
			n--
			v.crash(v.current(), true)
		}
	}
	return "several servers, " + victim.name + " among them or not"
}

func transfer(c *cluster, s step, victim *server) string {
	p := victim.up()
	if p == nil {
		return victim.name + " is down"
	}
	c.spawn(func() {
		ctx, cancel := context.WithTimeout(p.ctx, 2*time.Second)
		defer cancel()
		_ = p.node.Abdicate(ctx) // nobody promises that it works
	})
	return "from " + victim.name
}

func takeSnapshot(c *cluster, _ step, victim *server) string {
	p := victim.up()
	if p == nil {
		return victim.name + " is down"
	}
	c.spawn(func() {
		ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
		defer cancel()
		_ = p.node.Snapshot(ctx) // there may be nothing new, or the process ends
	})
	return "by " + victim.name
}
