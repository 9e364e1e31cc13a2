package consensus

import "testing"

func TestVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		v    verdict
		mine bool
	}{
		"alone":                                 {verdict{voters: 1, leads: true}, false},
		"one of three differs":                  {verdict{voters: 3, differ: 1}, false},
		"the leader of three differs":           {verdict{voters: 3, differ: 1, fromLeader: true}, false},
		"both others differ":                    {verdict{voters: 3, differ: 2}, true},
		"both others differ from the leader":    {verdict{voters: 3, differ: 2, leads: true}, true},
		"two: the other differs from me":        {verdict{voters: 2, differ: 1, leads: true}, false},
		"two: I differ from the leader":         {verdict{voters: 2, differ: 1, fromLeader: true}, true},
		"two of five differ":                    {verdict{voters: 5, differ: 2, fromLeader: true}, false},
		"three of five differ":                  {verdict{voters: 5, differ: 3}, true},
		"four: a tie with the leader elsewhere": {verdict{voters: 4, differ: 2, fromLeader: true}, true},
		"four: a tie with the leader here":      {verdict{voters: 4, differ: 2}, false},
	} {
		if got := c.v.mine(); got != c.mine {
			t.Errorf("%s: %v", name, got)
		}
	}
}
