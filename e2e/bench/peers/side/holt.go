package side

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/holt-project/holt/e2e/harness"
	"github.com/holt-project/holt/internal/pki"
)

const holtPort = 6443

// holt is some servers, without agents.
type holt struct {
	binary, dir string
	servers     int
}

// Holt makes a cluster of some servers that keeps its files in dir; it does not run yet.
func Holt(binary, dir string, servers int) *Cluster {
	return newCluster(dir, &holt{binary, dir, servers})
}

func (h *holt) name(i int) string { return fmt.Sprintf("server-%d", i+1) }

func (h *holt) data(i int, file string) string { return filepath.Join(h.dir, h.name(i), file) }

func (h *holt) programs() []program {
	first := fmt.Sprintf("https://%s:%d", loopback(0), holtPort)
	token := h.data(0, "server-token")
	var out []program
	for i := range h.servers {
		p := program{name: h.name(i), api: fmt.Sprintf("https://%s:%d", loopback(i), holtPort)}
		p.ready = p.api + "/readyz"
		p.command = []string{h.binary, "server", "--name", p.name, "--data-dir", h.data(i, ""),
			"--bind", loopback(i), "--port", fmt.Sprint(holtPort)}
		if i > 0 {
			p.command = append(p.command, "--join", first, "--token-file", token)
			p.after = token
		}
		out = append(out, p)
	}
	return out
}

func (h *holt) administrator() (pki.Identity, error) {
	return harness.ReadIdentity(h.data(0, "admin.kubeconfig"))
}

func (h *holt) leads(ctx context.Context, c *http.Client, p program) (bool, error) {
	body, err := get(ctx, c, p.api+"/holt/v1/status")
	if err != nil {
		return false, err
	}
	var s harness.Status
	err = json.Unmarshal(body, &s)
	return s.Leader == p.name, err
}
