package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	"sigs.k8s.io/yaml"
)

// WriteKubeconfig writes a kubeconfig for the administrator at one server, with a namespace for its default.
func (c *Cluster) WriteKubeconfig(file, serverURL, namespace string) error {
	data := c.identity.Kubeconfig(serverURL, admin)
	var config clientcmdv1.Config
	if err := yaml.Unmarshal(data, &config); err != nil {
		return err
	}
	for i := range config.Contexts {
		config.Contexts[i].Context.Namespace = namespace
	}
	data, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

// Kubectl runs kubectl with the cluster's kubeconfig, at a server that serves, and returns what it printed. The error
// holds what it wrote to stderr.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	server, err := c.serving(ctx)
	if err != nil {
		return "", err
	}
	args = append([]string{"--kubeconfig", c.Sandbox.Kubeconfig(), "--server", server}, args...)
	cmd := exec.CommandContext(ctx, c.programs.Kubectl, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args[4:], " "), err, errOut.String())
	}
	return out.String(), nil
}

// serving is the URL of a server that answers: the kubeconfig names the first, which may just have lost its power.
func (c *Cluster) serving(ctx context.Context) (string, error) {
	var url string
	err := Await(ctx, "a server serves", func(ctx context.Context) error {
		var failed error
		for _, server := range c.Servers() {
			if _, failed = c.Status(ctx, server.Name); failed == nil {
				url = URL(server)
				return nil
			}
		}
		return failed
	})
	return url, err
}
