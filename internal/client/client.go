package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How long a server may stay silent before the client takes it for dead.
const (
	dialTimeout = time.Second
	pingAfter   = time.Second
	pingTimeout = time.Second
)

// maxResponse bounds what a response may hold: 256 MiB.
const maxResponse = 256 << 20

// Client talks to the servers of one cluster.
type Client struct {
	mu      sync.RWMutex
	servers []string // base URLs; guarded by mu, replaced and never changed
	current string   // the server that is asked first: one of servers; guarded by mu
	http    *http.Client
	agent   string
}

// New makes a client of servers, given as base URLs such as https://192.0.2.1:6443.
func New(servers []string, tls *tls.Config, userAgent string) (*Client, error) {
	if len(servers) == 0 {
		return nil, errors.New("no server is named")
	}
	transport := &http.Transport{
		TLSClientConfig:     tls,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   true,
		// A server whose packets are dropped answers no ping: its watches end instead of hanging.
		HTTP2:           &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		IdleConnTimeout: time.Minute,
	}
	c := &Client{agent: userAgent, http: &http.Client{Transport: transport, CheckRedirect: noRedirect}}
	c.SetServers(servers)
	return c, nil
}

// noRedirect keeps what is sent from going anywhere else.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// SetServers replaces the servers, when the cluster's have changed. An empty list changes nothing, and the server that
// answered last stays the one that is asked first, if it is among them.
func (c *Client) SetServers(servers []string) {
	if len(servers) == 0 {
		return
	}
	trimmed := make([]string, len(servers))
	for i, s := range servers {
		trimmed[i] = strings.TrimRight(s, "/")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servers = trimmed
	if !slices.Contains(trimmed, c.current) {
		c.current = trimmed[0]
	}
}

// order returns all servers, the current one first.
func (c *Client) order() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	at := max(0, slices.Index(c.servers, c.current))
	return slices.Concat(c.servers[at:], c.servers[:at])
}

// failed makes next the current server, unless somebody else has left the failed one already.
func (c *Client) failed(server, next string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == server && slices.Contains(c.servers, next) {
		c.current = next
	}
}

// Servers returns the base URLs that the client knows.
func (c *Client) Servers() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.servers)
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Request is one call.
type Request struct {
	Method, Path string
	// Query is appended to the path, without the question mark.
	Query string
	// Body is sent as JSON, or as it is if it is a []byte; nil sends nothing. A func() (io.ReadCloser, error) is called
	// for each server that is tried, and what it opens is sent as it is read.
	Body any
	// ContentType is the body's; empty means application/json.
	ContentType string
}

// Do carries out a request and decodes the JSON answer into out, unless out is nil. An answer other than 2xx is an
// error of k8s.io/apimachinery/pkg/api/errors.
func (c *Client) Do(ctx context.Context, r Request, out any) error {
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := readAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%s %s: the answer is not what was asked for: %w", r.Method, r.Path, err)
	}
	return nil
}

// Fetch reads what is at path, as it is.
func (c *Client) Fetch(ctx context.Context, path string) ([]byte, error) {
	body, err := c.Stream(ctx, Request{Method: http.MethodGet, Path: path})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return readAll(body)
}

func readAll(body io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, maxResponse+1))
	if err == nil && len(data) > maxResponse {
		err = fmt.Errorf("the answer is longer than %d bytes", maxResponse)
	}
	return data, err
}

// Stream is Do for answers that go on. The caller closes the reader.
func (c *Client) Stream(ctx context.Context, r Request) (io.ReadCloser, error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// send tries each server once, beginning with the one that answered last.
func (c *Client) send(ctx context.Context, r Request) (*http.Response, error) {
	body, err := encode(r.Body)
	if err != nil {
		return nil, err
	}
	var errs error
	servers := c.order()
	for i, server := range servers {
		resp, sent, err := c.sendTo(ctx, server, r, body)
		if err == nil {
			return resp, nil
		}
		var status apierrors.APIStatus
		if errors.As(err, &status) && !unavailable(status) {
			return nil, err
		}
		errs = errors.Join(errs, err)
		if ctx.Err() != nil {
			break // the server is not to blame
		}
		c.failed(server, servers[(i+1)%len(servers)])
		if sent && status == nil && r.Method != http.MethodGet {
			break // it may have been carried out
		}
	}
	return nil, errs
}

// unavailable is the answer of a server that did nothing.
func unavailable(s apierrors.APIStatus) bool { return s.Status().Code == http.StatusServiceUnavailable }

// sendTo asks one server. sent is false if it certainly has not been reached: there was no connection to it.
func (c *Client) sendTo(ctx context.Context, server string, r Request, open func() (io.Reader, error)) (resp *http.Response, sent bool, err error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// The transport looks for another connection only if the server has told that it did nothing with the request.
		GetConn: func(string) { sent = false },
		GotConn: func(httptrace.GotConnInfo) { sent = true },
	})
	url := server + r.Path
	if r.Query != "" {
		url += "?" + r.Query
	}
	body, err := open()
	if err != nil {
		return nil, false, err
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, url, body)
	if err != nil {
		return nil, false, err
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Accept", "application/json")
	if r.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.ContentType != "" {
		req.Header.Set("Content-Type", r.ContentType)
	}
	if resp, err = c.http.Do(req); err != nil {
		return nil, sent, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer resp.Body.Close()
		return nil, true, statusError(resp)
	}
	return resp, true, nil
}

// encode returns a function that opens the body once more for each server. The http package closes what it gets.
func encode(body any) (func() (io.Reader, error), error) {
	var data []byte
	switch b := body.(type) {
	case func() (io.ReadCloser, error):
		return func() (io.Reader, error) { return b() }, nil
	case nil:
	case []byte:
		data = b
	default:
		var err error
		if data, err = json.Marshal(b); err != nil {
			return nil, err
		}
	}
	return func() (io.Reader, error) { return bytes.NewReader(data), nil }, nil
}

// statusError turns an error answer into the error that the server meant.
func statusError(resp *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // what did not arrive is not in the message
	var s metav1.Status
	if json.Unmarshal(data, &s) == nil && s.Kind == "Status" {
		s.Code = int32(resp.StatusCode) // what was said, whatever is written in it
		return apierrors.FromObject(&s)
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: int32(resp.StatusCode),
		Message: fmt.Sprintf("%s: %s", resp.Status, strings.TrimSpace(string(data))),
	}}
}
