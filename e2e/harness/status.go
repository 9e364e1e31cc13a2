package harness

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/holt-project/holt/internal/client"
)

// Status is what a server tells about itself at /holt/v1/status.
type Status struct {
	Name         string `json:"name"`
	Role         string `json:"role"`
	Leader       string `json:"leader"`
	Term         uint64 `json:"term"`
	AppliedIndex uint64 `json:"appliedIndex"`
	Revision     uint64 `json:"revision"`
	Digest       string `json:"digest"`
}

// statusTimeout bounds the question to one server: one without power answers nothing.
const statusTimeout = 2 * time.Second

// Status asks one server.
func (c *Cluster) Status(ctx context.Context, server string) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var s Status
	err := c.At(server).Do(ctx, client.Request{Method: http.MethodGet, Path: "/holt/v1/status"}, &s)
	return s, err
}

// AwaitSameState waits until every server serves and all have the same state, and returns it as one of them told it.
func (c *Cluster) AwaitSameState(ctx context.Context) (Status, error) {
	var first Status
	err := Await(ctx, "all servers have the same state", func(ctx context.Context) error {
		for i, server := range c.Servers() {
			s, err := c.Status(ctx, server.Name)
			if err != nil {
				return err
			}
			if i == 0 {
				first = s
			}
			if s.Digest == "" || s.Leader == "" {
				return fmt.Errorf("%s has no digest or knows no leader: %+v", server.Name, s)
			}
			if s.Digest != first.Digest || s.Revision != first.Revision {
				return fmt.Errorf("the states differ: %+v and %+v", first, s)
			}
		}
		return nil
	})
	return first, err
}
