package api

import (
	"errors"
	"log/slog"
)

// Server is the API as an http.Handler. It takes requests in, and hands them to the part that answers them.
type Server struct {
	cfg     Config
	log     *slog.Logger
	timeout requestTimeout
	bounds  bounds
	out     *responder

	open      *openPaths
	reader    *reader
	watches   *watches
	logs      *podLogs
	forwarder *forwarder
}

// New makes a Server. It fails if a required part is missing.
func New(cfg Config) (*Server, error) {
	if cfg.Kinds == nil || cfg.Store == nil || cfg.Leadership == nil || cfg.Auth == nil || cfg.Authz == nil {
		return nil, errors.New("api: Kinds, Store, Leadership, Auth and Authz must be set")
	}
	cfg = cfg.withDefaults()
	out := &responder{log: cfg.Log, now: cfg.Now}
	timeout := requestTimeout(cfg.RequestTimeout)
	bounds := newBounds(cfg.Limits)
	writer := &writer{store: cfg.Store, steps: cfg.Admit, authz: cfg.Authz, owners: cfg.Owners, now: cfg.Now}
	return &Server{
		cfg: cfg, log: cfg.Log, timeout: timeout, bounds: bounds, out: out,
		open:    &openPaths{leadership: cfg.Leadership, release: cfg.Version, out: out},
		reader:  &reader{store: cfg.Store},
		watches: &watches{store: cfg.Store, out: out, timeout: timeout},
		logs:    &podLogs{store: cfg.Store, agents: cfg.Agents, out: out, timeout: timeout},
		forwarder: &forwarder{
			leadership: cfg.Leadership, writer: writer, transport: cfg.Forward, bodies: bounds.bodies, out: out,
			timeout: timeout, log: cfg.Log,
		},
	}, nil
}
