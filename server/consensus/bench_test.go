package consensus_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
)

func BenchmarkPropose(b *testing.B) {
	_, tune := sealed(b, nil)
	value := strings.Repeat("v", 1<<10)
	for what, tune := range map[string]func(*consensus.Config){"sealed": tune, "plain": nil} {
		b.Run(what, func(b *testing.B) {
			c := newCluster(b, 3, tune)
			leader := c.leader()
			var next atomic.Int64
			b.SetParallelism(64)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					op := create(b, fmt.Sprint("k", next.Add(1)), value)
					if _, err := leader.Propose(c.ctx(), []fsm.Op{op}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkLinearize(b *testing.B) {
	c := newCluster(b, 3, nil)
	for name, s := range map[string]*server{"leader": c.leader(), "follower": c.followers()[0]} {
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(64)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := s.Linearize(c.ctx()); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
