package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/e2e/harness"
)

// The load of TestRollingUpdateLosesNoRequest: what is sent by the machine, and what is demanded of it on average.
const (
	sentPerSecond = 240
	leastRate     = 200
)

// TestRollingUpdateLosesNoRequest updates and rolls back a Deployment while the machine sends through the node port of
// every node, and a pod through the Service's name. Each request has a connection of its own.
func TestRollingUpdateLosesNoRequest(t *testing.T) {
	c := sharedCluster(t)
	const namespace = "rolling"
	port := whoamiIn(t, c, namespace, 3)
	removeNamespace(t, c, namespace)
	var urls []string
	for _, agent := range c.Agents() {
		urls = append(urls, nodeURL(agent, port))
		_, err := harness.AwaitAnswers(within(t, bound), nodeURL(agent, port), 3)
		must(t, err)
	}
	kubectl(t, c, "run", "load", "-n", namespace, "--image=holt.local/toolbox:1", "--",
		"wget", "-n", "1000000", "-interval", "10ms", "http://whoami")
	kubectl(t, c, "wait", "-n", namespace, "pod/load", "--for=condition=Ready", "--timeout=60s")

	load := harness.StartLoad(sentPerSecond, urls...)
	stopped := false
	defer func() {
		if !stopped {
			t.Log(load.Stop())
		}
	}()
	kubectl(t, c, "set", "image", "-n", namespace, "deployment/whoami", "whoami=holt.local/whoami:2")
	awaitRollout(t, c, namespace)
	kubectl(t, c, "rollout", "undo", "-n", namespace, "deployment/whoami")
	awaitRollout(t, c, namespace)
	report := load.Stop()
	stopped = true

	t.Log("from the machine:", report)
	if report.Failed > 0 {
		t.Errorf("%d of %d requests from the machine failed", report.Failed, report.Sent)
	}
	if report.Rate < leastRate {
		t.Errorf("only %.0f requests were sent in a second, want %d", report.Rate, leastRate)
	}
	if report.Versions["1"] == 0 || report.Versions["2"] == 0 {
		t.Errorf("not both versions have answered: %v", report.Versions)
	}
	fromPod := kubectl(t, c, "logs", "-n", namespace, "load")
	checkPodLoad(t, fromPod)
}

// awaitRollout waits until the new pods are ready and the last old one has gone, so that its end is under load too.
func awaitRollout(t *testing.T, c *harness.Cluster, namespace string) {
	t.Helper()
	kubectl(t, c, "rollout", "status", "-n", namespace, "deployment/whoami", "--timeout=90s")
	must(t, harness.Await(within(t, bound), "the old pods have gone", func(ctx context.Context) error {
		list, err := harness.List[corev1.PodList](ctx, c.API, harness.PodsKind, namespace, "app=whoami")
		if err == nil && len(list.Items) != 3 {
			err = fmt.Errorf("there are %v", harness.Describe(list.Items))
		}
		return err
	}))
}

// checkPodLoad reads what toolbox wget printed.
func checkPodLoad(t *testing.T, log string) {
	t.Helper()
	answers := map[string]int{}
	for line := range strings.Lines(log) {
		_, version, ok := strings.Cut(strings.TrimSpace(line), " version=")
		if !ok {
			t.Errorf("a request from the pod failed: %s", line)
			continue
		}
		answers[version]++
	}
	t.Log("from the pod: answers by version", answers)
	for version := range 2 {
		if answers[strconv.Itoa(version+1)] == 0 {
			t.Errorf("no answer of version %d reached the pod", version+1)
		}
	}
}
