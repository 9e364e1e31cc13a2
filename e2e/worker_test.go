package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/e2e/harness"
)

// TestLossOfAWorker takes the power of a node: its pods are replaced on the other and serve there.
func TestLossOfAWorker(t *testing.T) {
	c := ownCluster(t, usual)
	const namespace, selector, replicas = "worker", "app=whoami", 4
	port := whoamiIn(t, c, namespace, replicas)
	before, err := c.AwaitPods(within(t, bound), namespace, selector, replicas, nil)
	must(t, err)
	victim, survivor := c.Agents()[0], c.Agents()[1]
	on := podsOn(before, victim.Name)
	if len(on) == 0 || len(on) == replicas {
		t.Fatalf("the pods are not spread: %v", harness.Describe(before))
	}

	must(t, c.Kill(within(t, bound), victim.Name))
	lost := time.Now()
	must(t, c.AwaitNode(within(t, bound), victim.Name, false))
	t.Logf("%s is not Ready after %s", victim.Name, time.Since(lost).Round(time.Millisecond))
	_, err = c.AwaitPods(within(t, bound), namespace, selector, replicas, func(p *corev1.Pod) bool {
		return p.Spec.NodeName == survivor.Name
	})
	must(t, err)
	_, err = harness.AwaitAnswers(within(t, bound), nodeURL(survivor, port), replicas)
	must(t, err)
	took := time.Since(lost)
	t.Logf("its pods are replaced and serve on %s after %s", survivor.Name, took.Round(time.Millisecond))
	if took > replacementBound {
		t.Errorf("it took %s, want at most %s", took, replacementBound)
	}
	// The lost node's share of traffic does not end in the dark.
	load := harness.StartLoad(50, nodeURL(survivor, port))
	kubectl(t, c, "wait", "-n", namespace, "deployment/whoami", "--for=condition=Available", "--timeout=60s")
	if report := load.Stop(); report.Failed > 0 {
		t.Errorf("after the replacement: %s", report)
	}

	// Back again it is Ready, what it ran is gone, and it takes new work.
	must(t, c.Start(within(t, bound), victim.Name))
	must(t, c.AwaitNode(within(t, bound), victim.Name, true))
	must(t, harness.Await(within(t, bound), "the old pods have gone", func(ctx context.Context) error {
		list, err := harness.List[corev1.PodList](ctx, c.API, harness.PodsKind, namespace, selector)
		if err != nil {
			return err
		}
		if old := podsOn(list.Items, victim.Name); len(old) > 0 {
			return fmt.Errorf("there are %v", harness.Describe(old))
		}
		return nil
	}))
	kubectl(t, c, "scale", "-n", namespace, "deployment/whoami", "--replicas=8")
	kubectl(t, c, "rollout", "status", "-n", namespace, "deployment/whoami", "--timeout=60s")
	after, err := c.Pods(t.Context(), namespace, selector)
	must(t, err)
	if len(podsOn(after, victim.Name)) == 0 {
		t.Errorf("no new pod is on %s: %v", victim.Name, harness.Describe(after))
	}
	_, err = harness.AwaitAnswers(within(t, bound), nodeURL(victim, port), 8)
	must(t, err)
}

func podsOn(pods []corev1.Pod, node string) []corev1.Pod {
	var out []corev1.Pod
	for _, p := range pods {
		if p.Spec.NodeName == node {
			out = append(out, p)
		}
	}
	return out
}
