package e2e

import (
	"bufio"
	"os/exec"
	"regexp"
	"syscall"
	"testing"
)

// TestWatch follows kubectl get -w while what it shows comes, changes and goes.
func TestWatch(t *testing.T) {
	c := sharedCluster(t)
	const namespace = "watch"
	must(t, c.NewNamespace(within(t, bound), namespace))
	removeNamespace(t, c, namespace)

	ctx := within(t, bound)
	cmd := exec.CommandContext(ctx, programs.Kubectl, "--kubeconfig", c.Kubeconfig(), "get", "pods", "-n", namespace, "-w",
		"--output-watch-events")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	expect := func(pattern string) {
		t.Helper()
		re := regexp.MustCompile(pattern)
		var seen []string
		for line := range lines {
			if re.MatchString(line) {
				return
			}
			seen = append(seen, line)
		}
		t.Fatalf("the watch ended without %q; it printed since the last match: %q", pattern, seen)
	}

	// Once a first pod is shown, the watch has begun, and nothing of the second can be missed.
	kubectl(t, c, "run", "first", "-n", namespace, "--image=holt.local/whoami:1")
	expect(`^EVENT +NAME +READY +STATUS +RESTARTS +AGE$`)
	expect(`^ADDED +first `)
	kubectl(t, c, "run", "one", "-n", namespace, "--image=holt.local/whoami:1")
	expect(`^ADDED +one +0/1 +Pending `)
	expect(`^MODIFIED +one +1/1 +Running `)
	kubectl(t, c, "delete", "-n", namespace, "pod", "one", "--wait=false")
	expect(`^MODIFIED +one +1/1 +Terminating `)
	expect(`^DELETED +one `)

	must(t, cmd.Process.Signal(syscall.SIGTERM))
	for range lines { // what is left of its output, to its end
	}
	_ = cmd.Wait() // it was ended by a signal
}
