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
	streams *streamCounts
	out     *responder

	open      *openPaths
	reader    *reader
	watches   *watches
	logs      *podLogs
	forwarder *forwarder
}

// New makes a Server. It fails if a required part is missing.
func New(cfg Config) (*Server, error) {
	if cfg.Kinds == nil || cfg.Store == nil || cfg.Consensus == nil || cfg.Auth == nil || cfg.Authz == nil {
		return nil, errors.New("api: Kinds, Store, Consensus, Auth and Authz must be set")
	}
	cfg = cfg.withDefaults()
	out := &responder{log: cfg.Log, now: cfg.Now}
	timeout := requestTimeout(cfg.RequestTimeout)
	reader := &reader{store: cfg.Store, consensus: cfg.Consensus, pages: newPageViews(cfg.Now)}
	writer := &writer{store: cfg.Store, consensus: cfg.Consensus, steps: cfg.Admit, now: cfg.Now}
	return &Server{
		cfg: cfg, log: cfg.Log, timeout: timeout, streams: &streamCounts{open: map[string]int{}}, out: out,
		open:    &openPaths{consensus: cfg.Consensus, release: cfg.Version, out: out},
		reader:  reader,
		watches: &watches{reader: reader, out: out, timeout: timeout, bookmarkEvery: cfg.BookmarkEvery},
		logs:    &podLogs{reader: reader, agents: cfg.Agents, out: out, timeout: timeout},
		forwarder: &forwarder{
			consensus: cfg.Consensus, writer: writer, transport: cfg.Forward, out: out, timeout: timeout, log: cfg.Log,
		},
	}, nil
}
