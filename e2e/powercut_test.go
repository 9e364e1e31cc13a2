package e2e

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/e2e/harness"
)

// powerCutsEnv says how often TestPowerCut cuts the power; make test does it a few times.
const (
	powerCutsEnv = "HOLT_POWER_CUTS"
	fewPowerCuts = 4
)

// TestPowerCut takes the power of a server that nobody else can help, at random moments while clients write, and starts
// it on what its disk held then: everything that it acknowledged must be there.
func TestPowerCut(t *testing.T) {
	cuts := fewPowerCuts
	if n := os.Getenv(powerCutsEnv); n != "" {
		var err error
		cuts, err = strconv.Atoi(n)
		must(t, err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d cuts, seed %d", cuts, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	room := newDiskRoom(t, 1)
	server := room.Servers()[0].Name
	disk := room.disks[server]
	const namespace = "power"
	must(t, room.NewNamespace(within(t, bound), namespace))
	var acked []string
	for cut := range cuts {
		writer := harness.StartWriter(t.Context(), room.API, namespace, "cut-"+strconv.Itoa(cut), 4)
		awaitAcked(t, writer, 1+random.IntN(500))
		must(t, disk.PowerCut(within(t, bound)))
		names, _ := writer.Stop()
		acked = append(acked, names...)
		must(t, disk.Mount(within(t, bound)))
		must(t, room.Start(within(t, bound), server))
		room.sameState(t)
		// The client still holds connections to a host that has forgotten them.
		must(t, harness.Await(within(t, bound), "the API answers", func(ctx context.Context) error {
			return room.API.Get(ctx, harness.Namespaces, "", namespace, &corev1.Namespace{})
		}))
		checkWritten(t, room.Cluster, namespace, acked)
	}
	t.Logf("%d writes were acknowledged, and are there", len(acked))
}
