package image

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

func newTransport(o Options) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: o.DialTimeout}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   o.DialTimeout,
		ResponseHeaderTimeout: o.ResponseTimeout,
		IdleConnTimeout:       90 * time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   8,
	}
}

// guard bounds manifests, and refuses plain HTTP to all but the named hosts. The registry library would fall back to it for private
// addresses, and follow redirects and token services there: credentials must not travel in the clear, nor may a
// registry send the node to its own unencrypted local services.
type guard struct {
	inner http.RoundTripper
	plain []string
}

func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !slices.Contains(g.plain, req.URL.Host) {
		return nil, fmt.Errorf("plain HTTP to %s is refused; list it among the plain-HTTP registries to allow it", req.URL.Host)
	}
	resp, err := g.inner.RoundTrip(req)
	if err == nil && strings.Contains(req.URL.Path, "/manifests/") {
		resp.Body = &shortBody{resp.Body, maxMetadata}
	}
	return resp, err
}

// shortBody bounds a response that is going to be held in memory.
type shortBody struct {
	io.ReadCloser
	left int64
}

func (b *shortBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("%w: a manifest of more than %d bytes", ErrTooLarge, maxMetadata)
	}
	return n, err
}

func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// stalling ends a transfer when no byte arrives for a while: cancel must make reads of rc return.
type stalling struct {
	rc      io.ReadCloser
	timeout time.Duration
	timer   *time.Timer
	ctx     context.Context
}

func watchStall(ctx context.Context, cancel context.CancelCauseFunc, rc io.ReadCloser, timeout time.Duration) io.ReadCloser {
	timer := time.AfterFunc(timeout, func() { cancel(fmt.Errorf("nothing arrived for %s", timeout)) })
	return &stalling{rc: rc, timeout: timeout, timer: timer, ctx: ctx}
}

func (s *stalling) Read(p []byte) (int, error) {
	n, err := s.rc.Read(p)
	if n > 0 {
		s.timer.Reset(s.timeout)
	}
	if err != nil && err != io.EOF && context.Cause(s.ctx) != nil {
		err = context.Cause(s.ctx)
	}
	return n, err
}

func (s *stalling) Close() error {
	s.timer.Stop()
	return s.rc.Close()
}
