package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/internal/folder"
	"github.com/holt-project/holt/internal/gossip"
	"github.com/holt-project/holt/internal/memory"
	"github.com/holt-project/holt/internal/pki"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/admission"
	"github.com/holt-project/holt/server/api"
	"github.com/holt-project/holt/server/api/discovery"
	"github.com/holt-project/holt/server/api/openapi"
	"github.com/holt-project/holt/server/auth"
	"github.com/holt-project/holt/server/consensus"
	"github.com/holt-project/holt/server/join"
	"github.com/holt-project/holt/server/keyring"
	"github.com/holt-project/holt/server/kinds"
	"github.com/holt-project/holt/server/listener"
	"github.com/holt-project/holt/server/ownership"
	"github.com/holt-project/holt/server/storage"
)

// Bounds of the HTTP server.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
	shutdownTimeout   = 3 * time.Second
	closeTimeout      = 5 * time.Second
)

// server is the wired process.
type server struct {
	Config
	creds    credentials
	kinds    *kinds.Registry
	store    *fsm.Store
	listener *listener.Listener
	node     *consensus.Node
	pool     *gossip.Pool
	// keys encrypt what consensus keeps; keeper changes them.
	keys    *seal.Holder
	keeper  *keyring.Keeper
	backups backups
	admit   []admission.Step
	owners  *ownership.Tracker
	// client dials servers, peer any node.
	client, peer *tls.Config
	// found is the cluster that this server begins, until that is in the store; nil otherwise.
	found atomic.Pointer[founding]
}

// Run runs a server until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	release, err := folder.Lock(cfg.DataDir, "server")
	if err != nil {
		return err
	}
	defer release()
	creds, err := cfg.load(ctx)
	if err != nil {
		return err
	}
	s := &server{Config: cfg, creds: creds, kinds: kinds.Builtin(), owners: ownership.New(), keys: seal.NewHolder(creds.ring)}
	s.found.Store(creds.found)
	s.store = fsm.New(s.kinds.Schema(), 0)
	if err := s.open(); err != nil {
		return err
	}
	err = s.serve(ctx)
	return errors.Join(err, s.close())
}

// open takes what can be in use by others: ports and the data folder.
func (s *server) open() error {
	tlsServer, err := s.creds.ServerTLS()
	if err != nil {
		return err
	}
	if s.client, err = s.creds.ClientTLS(); err != nil {
		return err
	}
	if s.peer, err = s.creds.PeerTLS(); err != nil {
		return err
	}
	if s.listener, err = listener.Open(s.address(), tlsServer, s.client, isServer, s.Log); err != nil {
		return err
	}
	fingerprint, err := pki.Fingerprint(s.creds.AuthorityPEM)
	if err != nil {
		return errors.Join(err, s.listener.Close())
	}
	s.node, err = consensus.Open(consensus.Config{
		Name: s.Name, Address: s.address(), Cluster: fingerprint, DataDir: s.path(raftDir),
		Transport: s.listener.Streams(), Bootstrap: s.creds.found != nil, Keys: s.keys, Log: s.Log,
		Timing: consensus.Timing{Heartbeat: s.HeartbeatTimeout, Election: s.ElectionTimeout},
	}, s.store)
	switch {
	case errors.Is(err, consensus.ErrForeign):
		err = fmt.Errorf("%w: choose another folder with --data-dir, or empty this one to join with a token", err)
	case errors.Is(err, consensus.ErrMissingKey):
		err = fmt.Errorf("%w. The key ring is %s. %s", err, s.Keyring, keyring.Advice(s.Keyring))
	}
	if err != nil {
		return errors.Join(err, s.listener.Close())
	}
	s.keeper = keyring.New(keyring.Config{Name: s.Name, Path: s.Keyring, Keys: s.keys, Store: s.store, Cluster: s.node,
		Disk: s.node, Encode: s.kinds.ByStore("secrets").Encode, Transport: transport(s.client), Log: s.Log})
	s.pool, err = gossip.Start(gossip.Config{Name: gossip.MemberName(pki.RoleServer, s.Name), Address: s.Bind.String(),
		Port: int(s.GossipPort), Key: s.creds.gossipKey}, s.Log)
	if err != nil {
		return errors.Join(err, s.node.Close(context.Background()), s.listener.Close())
	}
	s.backups = newBackups(s, fingerprint)
	return nil
}

// isServer reports whether a TLS peer is a server of this cluster.
func isServer(c tls.ConnectionState) bool {
	return len(c.PeerCertificates) > 0 && auth.FromCertificate(c.PeerCertificates[0]).In(auth.ServersGroup)
}

func (s *server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return errors.Join(s.node.Close(ctx), s.pool.Close(), s.listener.Close())
}

// serve runs everything until ctx ends, the API fails, or the cluster refuses the server.
func (s *server) serve(ctx context.Context) error {
	handler, err := s.handler()
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.Background())
	defer cancel()
	web := s.newWeb(handler)
	defer web.cut()
	var wg sync.WaitGroup
	failed := make(chan error, 2)
	wg.Go(func() { s.pool.Run(running, s.gossipPeers) })
	wg.Go(func() { s.node.Lead(running, s.lead) })
	wg.Go(func() { s.keeper.Run(running) })
	wg.Go(func() { memory.New().Run(running) })
	wg.Go(func() {
		if err := (entrant{s}).belong(running); err != nil {
			failed <- err
		}
	})
	wg.Go(func() { failed <- web.Serve(s.listener.API()) })
	select {
	case <-ctx.Done():
		s.takeLeave(web)
	case err = <-failed:
		if errors.Is(err, enroll.ErrRefused) { // whoever joins anew under this name need not wait until it is missed
			err = errors.Join(err, s.pool.Leave())
		}
	}
	cancel()
	web.shut()
	wg.Wait()
	return serving(err)
}

// handler wires the API.
func (s *server) handler() (http.Handler, error) {
	docs, err := openapi.New(s.kinds)
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	found, err := discovery.New(s.kinds)
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	s.admit = []admission.Step{
		admission.NodeRestriction(),
		admission.NamespaceLifecycle(s.store, replicated{s.node}),
		admission.DefaultTolerations(s.UnreachableSeconds),
		admission.NewServiceAllocator(s.ServiceCIDR, admission.DefaultNodePorts, s.store, replicated{s.node}).Step,
	}
	desk := join.NewDesk(stateOf{s.store, s.node}, s.aliveNode, s.serverURLs, s.Bind, s.serviceAddress(KubernetesAddress),
		s.agreed(), s.keys.Ring, s.Log)
	extra := map[string]http.Handler{
		enroll.PathCA:      http.HandlerFunc(desk.CA),
		enroll.PathJoin:    http.HandlerFunc(desk.Join),
		enroll.PathMembers: registrar{s}.group(),
		enroll.PathStatus:  join.Status(s.status),
		keyring.PathKeys:   s.keeper.Handler(),
	}
	maps.Copy(extra, s.backups.handlers())
	return api.New(api.Config{
		Kinds: s.kinds, Store: storage.New(s.store, replicated{s.node}, 0), Leadership: s.node,
		Auth: auth.Certificates{}, Authz: auth.NewAuthorizer(s.store.View),
		Discovery: found, OpenAPI: docs,
		Extra:   extra,
		Admit:   s.admit,
		Owners:  s.owners,
		Agents:  &agents{transport: transport(s.peer)},
		Forward: transport(s.client),
		Log:     s.Log,
	})
}

// transport reaches other nodes with this server's certificate. A peer that does not answer pings is given up.
func transport(c *tls.Config) *http.Transport {
	return &http.Transport{
		TLSClientConfig: c, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 2 * time.Second,
		DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		HTTP2:       &http.HTTP2Config{SendPingTimeout: 2 * time.Second, PingTimeout: time.Second},
	}
}

// stateOf joins the store and consensus into what join reads.
type stateOf struct {
	*fsm.Store
	*consensus.Node
}

// agents reaches the agents of nodes.
type agents struct{ transport http.RoundTripper }

// AgentPort is where agents serve streams.
const AgentPort = 10250

func (a *agents) Agent(node *corev1.Node) (*url.URL, http.RoundTripper, error) {
	port := node.Status.DaemonEndpoints.KubeletEndpoint.Port
	if port == 0 {
		port = AgentPort
	}
	for _, addr := range node.Status.Addresses {
		if addr.Type == corev1.NodeInternalIP {
			host := net.JoinHostPort(addr.Address, strconv.Itoa(int(port)))
			return &url.URL{Scheme: "https", Host: host}, a.transport, nil
		}
	}
	return nil, nil, fmt.Errorf("node %s has no internal address", node.Name)
}
