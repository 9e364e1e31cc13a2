package consensus

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var autopilotNow = time.Unix(1e9, 0)

// ago makes a server that has been silent for so long; 0 is alive.
func ago(id string, voter bool, silent time.Duration) sight {
	return sight{id: id, voter: voter, live: silent == 0, silent: autopilotNow.Add(-silent)}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	const dead, old = 2 * time.Minute, 10 * time.Minute
	policy := Policy{DeadAfter: time.Minute, MinVoters: 3}
	caughtUp := ago("d", false, 0)
	caughtUp.caughtUp = true
	gone := ago("d", false, dead)
	gone.caughtUp = true
	for name, test := range map[string]struct {
		policy  Policy
		servers []sight
		want    decision
	}{
		"all well":                     {policy, []sight{ago("a", true, 0), ago("b", true, 0), ago("c", true, 0)}, decision{}},
		"caught up":                    {policy, []sight{ago("a", true, 0), caughtUp}, decision{promote: "d"}},
		"not caught up":                {policy, []sight{ago("a", true, 0), ago("d", false, 0)}, decision{}},
		"caught up, and gone since":    {policy, []sight{ago("a", true, 0), ago("b", true, 0), gone}, decision{remove: "d"}},
		"promotion comes first":        {policy, []sight{ago("a", true, 0), ago("b", true, 0), ago("c", true, dead), caughtUp}, decision{promote: "d"}},
		"one of three":                 {policy, []sight{ago("a", true, 0), ago("b", true, 0), ago("c", true, dead)}, decision{}},
		"one of three and a non-voter": {policy, []sight{ago("a", true, 0), ago("b", true, 0), ago("c", true, dead), ago("d", false, 0)}, decision{}},
		"one of four":                  {policy, []sight{ago("a", true, 0), ago("b", true, 0), ago("c", true, dead), ago("d", true, 0)}, decision{remove: "c"}},
		"not yet":                      {policy, []sight{ago("a", true, 0), ago("b", true, 0), ago("c", true, 59*time.Second), ago("d", true, 0)}, decision{}},
		"two of five at once": {policy, []sight{ago("a", true, 0), ago("b", true, 0), ago("c", true, dead), ago("d", true, dead+time.Second), ago("e", true, 0)},
			decision{}},
		"two of five, one after the other": {policy, []sight{ago("a", true, 0), ago("b", true, 0), ago("c", true, dead), ago("d", true, old), ago("e", true, 0)},
			decision{remove: "c"}},
		"another one fails just now": {policy, []sight{ago("a", true, 0), ago("b", true, 0), ago("c", true, 61*time.Second), ago("d", true, 2*time.Second), ago("e", true, 0)},
			decision{}},
		"a dead non-voter of three": {policy, []sight{ago("a", true, 0), ago("b", true, 0), ago("c", true, 0), ago("d", false, dead)}, decision{remove: "d"}},
		"switched off":              {Policy{MinVoters: 3}, []sight{ago("a", true, 0), ago("b", true, 0), ago("c", true, dead), ago("d", true, 0)}, decision{}},
		"fewer are enough":          {Policy{DeadAfter: time.Minute, MinVoters: 1}, []sight{ago("a", true, 0), ago("b", true, 0), ago("c", true, dead)}, decision{remove: "c"}},
		"never below the majority":  {Policy{DeadAfter: time.Minute, MinVoters: 1}, []sight{ago("a", true, 0), ago("b", true, dead)}, decision{}},
	} {
		if got := decide(test.policy, "a", test.servers, autopilotNow); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

// TestDecideKeepsTheMajority lets anything happen to up to nine servers.
func TestDecideKeepsTheMajority(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{
			DeadAfter: time.Duration(rapid.IntRange(1, 100).Draw(t, "dead after")) * time.Second,
			MinVoters: rapid.IntRange(0, 6).Draw(t, "min voters"),
		}
		var servers []sight
		before := map[string]sight{}
		for i := range rapid.IntRange(1, 9).Draw(t, "servers") {
			s := ago(fmt.Sprint("s", i), i == 0 || rapid.Bool().Draw(t, "voter"), time.Duration(rapid.IntRange(0, 400).Draw(t, "silent"))*time.Second)
			if i == 0 {
				s = ago("s0", true, 0)
			}
			s.caughtUp = !s.voter && rapid.Bool().Draw(t, "caught up")
			servers, before[s.id] = append(servers, s), s
		}
		d := decide(p, "s0", servers, autopilotNow)
		if p := before[d.promote]; d.promote != "" && (p.voter || !p.live || !p.caughtUp) {
			t.Fatalf("promotes %+v", p)
		}
		if d.remove == "" {
			return
		}
		gone := before[d.remove]
		if d.promote != "" || gone.id == "s0" || gone.live || autopilotNow.Sub(gone.silent) < p.DeadAfter {
			t.Fatalf("%+v removes %+v", d, gone)
		}
		voters, live := 0, 0
		for _, s := range servers {
			if s.voter && s.id != gone.id {
				voters++
				if s.live {
					live++
				}
			}
			if s.id != gone.id && !s.live && s.silent.Equal(gone.silent) {
				t.Fatalf("%s died together with %s", s.id, gone.id)
			}
		}
		if gone.voter && (live < p.MinVoters || 2*live <= voters || 2*live <= voters+1) {
			t.Fatalf("after the removal of %s %d of %d voters live, and %d must", gone.id, live, voters, p.MinVoters)
		}
	})
}
