package work

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
)

// Media types.
const (
	JSON       = "application/json"
	Protobuf   = "application/vnd.kubernetes.protobuf"
	MergePatch = "application/merge-patch+json"
)

// Request is one call of the API.
type Request struct {
	Method, Path, Query string
	// Accept is the type of the answer; empty is JSON. Type is that of Body.
	Accept, Type string
	Body         []byte
}

// Client sends requests to one server.
type Client struct {
	base      url.URL
	transport *http.Transport
}

// NewClient makes a client of the server at a base URL. Its caller calls Close.
func NewClient(base string, c *tls.Config) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	return &Client{*u, &http.Transport{TLSClientConfig: c.Clone(), ForceAttemptHTTP2: true, DisableCompression: true}}, nil
}

// Base is the base URL that the client was made with.
func (c *Client) Base() string { return c.base.String() }

// Close ends the connection, when nobody uses it.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Open sends a request and returns the body of the answer if that is a success.
func (c *Client) Open(ctx context.Context, r Request) (io.ReadCloser, error) {
	u := c.base
	u.Path, u.RawQuery = r.Path, r.Query
	header := http.Header{"Accept": {JSON}, "User-Agent": {"bench"}}
	if r.Accept != "" {
		header["Accept"][0] = r.Accept
	}
	req := &http.Request{Method: r.Method, URL: &u, Host: u.Host, Header: header}
	if r.Body != nil {
		header["Content-Type"] = []string{r.Type}
		req.ContentLength = int64(len(r.Body))
		req.Body = io.NopCloser(bytes.NewReader(r.Body))
	}
	resp, err := c.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp.Body, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 500))
	err = errors.Join(err, resp.Body.Close())
	return nil, errors.Join(fmt.Errorf("%s %s: %s: %s", r.Method, r.Path, resp.Status, body), err)
}

// buffers are for bodies that nobody looks into.
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// Do sends a request, reads the answer to its end, and returns its size in bytes.
func (c *Client) Do(ctx context.Context, r Request) (int64, error) {
	body, err := c.Open(ctx, r)
	if err != nil {
		return 0, err
	}
	buffer := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buffer)
	var size int64
	for {
		n, err := body.Read(buffer[:])
		size += int64(n)
		if err == io.EOF {
			return size, body.Close()
		}
		if err != nil {
			return size, errors.Join(fmt.Errorf("%s %s: %w", r.Method, r.Path, err), body.Close())
		}
	}
}
