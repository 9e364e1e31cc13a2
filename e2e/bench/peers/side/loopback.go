package side

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
)

// loopback is the address of the i-th host of this process' clusters. All of 127.0.0.0/8 is this machine; two benchmarks
// at a time have different addresses and may use the same ports.
func loopback(i int) string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>8&127, pid&255, 10+i)
}

// maxAnswer bounds what is read of an answer to a question about a process.
const maxAnswer = 4 << 20

// get returns the body of an answer 200.
func get(ctx context.Context, c *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %.300s", url, resp.Status, body)
	}
	return body, nil
}
