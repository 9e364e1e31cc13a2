package memory_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holt-project/holt/internal/memory"
)

func TestMemoryIsReturnedWhenQuiet(t *testing.T) {
	for name, c := range map[string]struct {
		perSecond, live, held uint64
		want                  bool
	}{
		"quiet, much held":      {100 << 10, 60 << 20, 120 << 20, true},
		"quiet, little held":    {100 << 10, 60 << 20, 70 << 20, false},
		"small, little held":    {0, 4 << 20, 9 << 20, false},
		"at work":               {50 << 20, 60 << 20, 120 << 20, false},
		"quiet, a small heap":   {0, 4 << 20, 20 << 20, true},
		"quiet, a quarter held": {0, 400 << 20, 480 << 20, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := memory.Usage{Live: c.live, Held: c.held}
				returned := 0
				trimmer := memory.Trimmer{
					Read:   func() memory.Usage { u.Allocated += c.perSecond; return u },
					Return: func() { returned++; u.Held = u.Live },
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				trimmer.Run(ctx)
				if (returned == 1) != c.want || returned > 1 {
					t.Errorf("returned %d times", returned)
				}
			})
		})
	}
}

// TestOwnHeap reads real figures.
func TestOwnHeap(t *testing.T) {
	trimmer := memory.New()
	trimmer.Return()
	if u := trimmer.Read(); u.Allocated == 0 || u.Live == 0 || u.Held < u.Live/2 {
		t.Errorf("%+v", u)
	}
}
