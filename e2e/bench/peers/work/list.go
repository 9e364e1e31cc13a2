package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/holt-project/holt/e2e/bench/figures"
)

// minLists is how many lists there are at least, for their median.
const minLists = 9

// Lists is what lists took.
type Lists struct {
	Rate
	Median time.Duration
	Size   int64 // of one, in bytes
}

// List has the first client list again and again for the window.
func (l Load) List(ctx context.Context, r Request) (Lists, error) {
	c := l.Clients[0]
	if _, err := c.Do(ctx, r); err != nil { // to warm up
		return Lists{}, err
	}
	begin, err := l.meter()
	if err != nil {
		return Lists{}, err
	}
	var out Lists
	var took []time.Duration
	for len(took) < minLists || time.Since(begin.at) < l.Window {
		one := time.Now()
		if out.Size, err = c.Do(ctx, r); err != nil {
			return Lists{}, err
		}
		took = append(took, time.Since(one))
	}
	end, err := l.meter()
	out.Rate, out.Median = end.since(begin, int64(len(took))), figures.Percentile(took, 50)
	return out, err
}

// Revision is that of a collection, from which it can be watched.
func Revision(ctx context.Context, c *Client, o Objects) (string, error) {
	body, err := c.Open(ctx, Request{Method: "GET", Path: o.Path, Query: "limit=1"})
	if err != nil {
		return "", err
	}
	var list struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	err = errors.Join(json.NewDecoder(body).Decode(&list), body.Close())
	if err == nil && list.Metadata.ResourceVersion == "" {
		err = fmt.Errorf("the list of %s has no resourceVersion", o.Path)
	}
	return list.Metadata.ResourceVersion, err
}
