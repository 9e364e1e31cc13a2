package consensus

import "time"

// Policy says what Tend may do by itself. The zero value promotes, and removes nobody.
type Policy struct {
	// DeadAfter is how long nobody must have heard of a server until it is taken for dead. Zero removes nobody.
	DeadAfter time.Duration
	// MinVoters is how many live voters must remain when a dead one is removed.
	MinVoters int
	// Alive is a second opinion about the server of that name, beside the leader's own contact. Nil is none.
	Alive func(name string) bool
}

// sight is one server as the leader sees it.
type sight struct {
	id    string
	voter bool
	// live says that it has answered the leader just now.
	live bool
	// silent is since when nobody has heard of it; not before this leader began to lead.
	silent time.Time
	// caughtUp says that a non-voter has had everything for a while.
	caughtUp bool
}

// decision is at most one change to the configuration; empty is none.
type decision struct{ promote, remove string }

// decide is what to do about the servers, of which self is the leader. It is pure.
//
// A dead voter is removed when enough live ones remain, for without it fewer failures break the majority: of five with
// one dead two more may fail, as of four, but of five with two dead none, and of the remaining three one. With three
// voters and no replacement nothing is gained: neither two of three nor two of two can do without another, and the
// dead one may be the first to come back. So it waits until there is a replacement, or more than three are left.
//
// What went silent together is left alone: that is a fault of the network rather than of servers, and the others may
// be as alive on its other side. So is everything for as long as this leader has not watched for DeadAfter itself.
func decide(p Policy, self string, servers []sight, now time.Time) decision {
	for _, s := range servers {
		if !s.voter && s.live && s.caughtUp {
			return decision{promote: s.id}
		}
	}
	if p.DeadAfter <= 0 {
		return decision{}
	}
	voters, live := 0, 0
	for _, s := range servers {
		if s.voter {
			voters++
			if s.live || s.id == self {
				live++
			}
		}
	}
	enough := live >= max(p.MinVoters, quorum(voters))
	for _, s := range servers {
		if s.id == self || s.live || now.Sub(s.silent) < p.DeadAfter || s.voter && !enough || together(p, self, servers, s) {
			continue
		}
		return decision{remove: s.id}
	}
	return decision{}
}

// together tells whether another server went silent at about the same time.
func together(p Policy, self string, servers []sight, dead sight) bool {
	for _, s := range servers {
		if s.id != dead.id && s.id != self && !s.live && s.silent.Sub(dead.silent).Abs() < p.DeadAfter {
			return true
		}
	}
	return false
}
