package e2e

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/holt-project/holt/e2e/harness"
	"github.com/holt-project/holt/e2e/torture/trial"
)

// The short form of make torture: the same load and the same judgement, with a schedule that is always the same.
const (
	tortureSeed   = 100
	tortureTime   = 25 * time.Second
	tortureRounds = 4
)

// TestTorture checks histories of clients on three servers while faults of all kinds strike.
func TestTorture(t *testing.T) {
	torture(t, trial.Options{Seed: tortureSeed, For: tortureTime})
}

// TestAllServersKilled ends all servers with kill -9, again and again, while clients write.
func TestAllServersKilled(t *testing.T) {
	torture(t, trial.Options{Seed: tortureSeed, Rounds: tortureRounds})
}

func torture(t *testing.T, o trial.Options) {
	t.Helper()
	c := ownCluster(t, harness.Size{Servers: 3})
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	report, err := trial.Run(t.Context(), c, o)
	if report != nil {
		var text strings.Builder
		must(t, report.Write(&text))
		t.Log(text.String())
		if report.Failed() {
			// Not the test's own folder, which goes when the test ends.
			files, saving := report.Save("../bin/torture")
			t.Errorf("promises were broken; see %v %v", files, saving)
		}
	}
	must(t, err)
}
