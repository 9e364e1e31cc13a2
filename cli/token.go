package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/internal/client"
	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/internal/pki"
	"github.com/holt-project/holt/server"
	"github.com/holt-project/holt/server/join"
)

var secrets = corev1.SchemeGroupVersion.WithResource("secrets")

func newToken() *cobra.Command {
	cmd := &cobra.Command{
		Use: "token", Short: "Manage the tokens with which nodes join",
		// With both of these cobra refuses an unknown verb; it would print the help and succeed.
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenCreate())
	return cmd
}

func newTokenCreate() *cobra.Command {
	var role, kubeconfig string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a join token and print it",
		Long: `Make a join token and print it.

The token admits nodes of its role until it expires. Delete its Secret (kubectl -n kube-system get secrets,
names that begin with holt-token-) to revoke it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if role != pki.RoleServer && role != pki.RoleAgent {
				return fmt.Errorf("--role %q: it is %s or %s", role, pki.RoleServer, pki.RoleAgent)
			}
			if ttl < 0 {
				return fmt.Errorf("--ttl %s: it must not be negative; 0 is for ever", ttl)
			}
			c, err := client.FromKubeconfig(kubeconfig, "holt/"+version)
			if err != nil {
				return err
			}
			defer c.Close()
			t, err := createToken(cmd.Context(), c, role, ttl)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), t)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&role, "role", pki.RoleAgent, "what the token admits: server or agent")
	f.DurationVar(&ttl, "ttl", 24*time.Hour, "how long the token is valid; 0 for ever")
	f.StringVar(&kubeconfig, "kubeconfig", defaultKubeconfig(), "kubeconfig of an administrator")
	return cmd
}

func defaultKubeconfig() string {
	if path := os.Getenv("KUBECONFIG"); path != "" {
		return path
	}
	return server.DefaultDataDir + "/admin.kubeconfig"
}

func createToken(ctx context.Context, c *client.Client, role string, ttl time.Duration) (pki.Token, error) {
	authority, err := c.Fetch(ctx, enroll.PathCA)
	if err != nil {
		return pki.Token{}, err
	}
	fingerprint, err := pki.Fingerprint(authority)
	if err != nil {
		return pki.Token{}, err
	}
	t, err := pki.NewToken(role, fingerprint)
	if err != nil {
		return t, err
	}
	var expires time.Time
	if ttl != 0 {
		expires = time.Now().Add(ttl)
	}
	return t, c.Create(ctx, secrets, join.TokenSecret(t, expires))
}
