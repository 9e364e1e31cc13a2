package figures_test

import (
	"testing"
	"time"

	"github.com/holt-project/holt/e2e/bench/figures"
)

func TestPercentilesAreByNearestRank(t *testing.T) {
	var thirty []time.Duration
	for i := range 30 {
		thirty = append(thirty, time.Duration(30-i))
	}
	for _, c := range []struct {
		values []time.Duration
		p      int
		want   time.Duration
	}{
		{thirty, 50, 15}, {thirty, 99, 30}, {thirty[:1], 50, 1}, {thirty[:3], 50, 2}, {thirty[:3], 99, 3}, {nil, 50, 0},
	} {
		if got := figures.Percentile(c.values, c.p); got != c.want {
			t.Errorf("p%d of %d values is %d, want %d", c.p, len(c.values), got, c.want)
		}
	}
}
