package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/e2e/harness"
)

// Bounds of what make bench measures. They hold on a busy machine; the aim on a quiet one is 2 s and 10 s.
const (
	failoverBound    = 10 * time.Second
	replacementBound = 30 * time.Second
)

// TestLossOfTheLeader takes the power of the leading server while clients write.
func TestLossOfTheLeader(t *testing.T) {
	c := ownCluster(t, usual)
	const namespace, selector = "leader", "app=whoami"
	port := whoamiIn(t, c, namespace, 3)
	pods, err := c.AwaitPods(within(t, bound), namespace, selector, 3, nil)
	must(t, err)
	before := harness.Lives(pods)

	writer := harness.StartWriter(t.Context(), c.API, namespace, "written", 4)
	must(t, harness.Await(within(t, bound), "there are writes", func(context.Context) error {
		if n, last := writer.Acked(); n < 100 {
			return fmt.Errorf("%d were acknowledged; last error: %w", n, last)
		}
		return nil
	}))
	load := harness.StartLoad(50, nodeURL(c.Agents()[0], port))
	leader, err := c.Leader(within(t, bound))
	must(t, err)
	must(t, c.Kill(within(t, bound), leader))
	lost := time.Now()
	other := anotherServer(c, leader)
	must(t, harness.Await(within(t, bound), "a write succeeds through "+other, func(ctx context.Context) error {
		name := fmt.Sprintf("first-after-%d", time.Since(lost).Milliseconds())
		return harness.WriteConfigMap(ctx, c.At(other), namespace, name)
	}))
	took := time.Since(lost)
	t.Logf("leader %s lost its power; a write through %s succeeded after %s", leader, other, took.Round(time.Millisecond))
	if took > failoverBound {
		t.Errorf("it took %s, want at most %s", took, failoverBound)
	}

	// New work runs, old work has noticed nothing.
	kubectl(t, c, "create", "deployment", "after", "-n", namespace, "--image=holt.local/whoami:1", "--replicas=2")
	kubectl(t, c, "rollout", "status", "-n", namespace, "deployment/after", "--timeout=60s")
	acked, failed := writer.Stop()
	report := load.Stop()
	t.Logf("%d writes acknowledged, %d not; requests to the Service: %s", len(acked), failed, report)
	if report.Failed > 0 {
		t.Errorf("%d requests to the Service failed, which no server has a part in", report.Failed)
	}
	checkWritten(t, c, namespace, acked)
	checkSameLives(t, c, namespace, selector, before)

	must(t, c.Start(within(t, bound), leader))
	status, err := c.AwaitSameState(within(t, bound))
	must(t, err)
	t.Logf("all servers are at revision %d with digest %s", status.Revision, status.Digest)
	checkWritten(t, c, namespace, acked)
	checkSameLives(t, c, namespace, selector, before)
}

// anotherServer names a server besides one.
func anotherServer(c *harness.Cluster, than string) string {
	for _, s := range c.Servers() {
		if s.Name != than {
			return s.Name
		}
	}
	return ""
}

// checkWritten checks that what was acknowledged is there, on every server that serves.
func checkWritten(t *testing.T, c *harness.Cluster, namespace string, acked []string) {
	t.Helper()
	list, err := harness.List[corev1.ConfigMapList](t.Context(), c.API, harness.ConfigMaps, namespace, "")
	must(t, err)
	there := map[string]bool{}
	for _, m := range list.Items {
		there[m.Name] = m.Data["written"] == m.Name
	}
	lost := 0
	for _, name := range acked {
		if !there[name] {
			lost++
			t.Logf("%s was acknowledged and is lost", name)
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(acked))
	}
}

// checkSameLives checks that no container was stopped or started since before.
func checkSameLives(t *testing.T, c *harness.Cluster, namespace, selector string, before []string) {
	t.Helper()
	pods, err := c.Pods(t.Context(), namespace, selector)
	must(t, err)
	if diff := cmp.Diff(before, harness.Lives(pods)); diff != "" {
		t.Errorf("the containers noticed (-before +after):\n%s", diff)
	}
}
