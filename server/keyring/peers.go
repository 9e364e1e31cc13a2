package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/consensus"
)

const (
	// peerTimeout bounds one question to another server.
	peerTimeout = 5 * time.Second
	// maxAnswer bounds its answer, in bytes.
	maxAnswer = 1 << 20
)

// peers asks other servers.
type peers struct{ client *http.Client }

// rings collects the wanted keys from others, until it has all of them. all is true if every server was asked in vain for
// the rest.
func (p peers) rings(ctx context.Context, others []consensus.Member, wanted []string) (found seal.Ring, all bool) {
	all = true
	for _, m := range others {
		if len(found.Keys()) == len(wanted) {
			break
		}
		var ring seal.Ring
		err := p.get(ctx, m, PathRing, &ring)
		if err == nil {
			ring, err = found.With(ring.Only(wanted...))
		}
		if err == nil {
			found = ring
		} else {
			all = false
		}
	}
	return found, all
}

// use asks a server which keys it uses.
func (p peers) use(ctx context.Context, m consensus.Member) (Use, error) {
	var answer struct {
		Keys *Use `json:"keys"`
	}
	if err := p.get(ctx, m, enroll.PathStatus, &answer); err != nil {
		return Use{}, err
	}
	if answer.Keys == nil {
		return Use{}, errors.New("it does not tell which keys it uses")
	}
	return *answer.Keys, nil
}

func (p peers) get(ctx context.Context, m consensus.Member, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+m.Address+path, nil)
	if err != nil {
		return err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into)
}
