package join

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/internal/pki"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/auth"
)

// maxRequest bounds the body of a request to join, in bytes.
const maxRequest = 64 << 10

// State is what the desk reads.
type State interface {
	View() fsm.View
	Linearize(ctx context.Context) error
}

// Desk answers the requests of nodes that want to join.
type Desk struct {
	state State
	// alive reports whether a node of the role and name lives already.
	alive func(role, name string) bool
	// servers lists the base URLs of all servers.
	servers func() []string
	// serverNames are the names under which every server serves, besides its own address.
	serverNames pki.Subject
	cluster     enroll.Cluster
	// ring returns the keys with which servers encrypt what they keep.
	ring func() seal.Ring
	// local says that the servers are at loopback addresses, so that all nodes are on one machine.
	local bool
	log   *slog.Logger
}

// NewDesk makes a desk of the server at address self. serviceIP is the address of the Service default/kubernetes.
func NewDesk(state State, alive func(role, name string) bool, servers func() []string, self, serviceIP netip.Addr,
	cluster enroll.Cluster, ring func() seal.Ring, log *slog.Logger) *Desk {
	return &Desk{state, alive, servers, ServerSubject("", netip.Addr{}, serviceIP), cluster, ring, self.IsLoopback(), log}
}

// ServerSubject is whom a server's certificate is for.
func ServerSubject(name string, address, serviceIP netip.Addr) pki.Subject {
	s := pki.Subject{
		User: auth.ServerPrefix + name, Groups: []string{auth.ServersGroup},
		DNS: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local"},
		IPs: []net.IP{net.IPv4(127, 0, 0, 1), serviceIP.AsSlice()},
	}
	if address.IsValid() {
		s.DNS, s.IPs = append(s.DNS, name), append(s.IPs, address.AsSlice())
	}
	return s
}

// AgentSubject is whom an agent's certificate is for.
func AgentSubject(name string, address netip.Addr) pki.Subject {
	return pki.Subject{User: auth.NodePrefix + name, Groups: []string{auth.NodesGroup},
		DNS: []string{name}, IPs: []net.IP{address.AsSlice()}}
}

// CA answers with the cluster's CA certificate.
func (d *Desk) CA(w http.ResponseWriter, _ *http.Request) {
	c, err := LoadCluster(d.state.View())
	if err != nil {
		answer(w, http.StatusServiceUnavailable, enroll.Refusal{Error: err.Error()})
		return
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	_, _ = w.Write(c.Authority.CertPEM) // a client that went away needs no answer
}

// Join checks a token and grants a certificate.
func (d *Desk) Join(w http.ResponseWriter, r *http.Request) {
	var req enroll.Request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&req); err != nil {
		answer(w, http.StatusBadRequest, enroll.Refusal{Error: "the request to join cannot be read: " + err.Error()})
		return
	}
	grant, err := d.grant(r.Context(), req)
	var refused refusal
	switch {
	case err == nil:
		d.log.Info("a node joins", "role", req.Role, "name", req.Name, "address", req.Address)
		answer(w, http.StatusOK, grant)
	case errors.As(err, &refused):
		d.log.Warn("a node was refused", "role", req.Role, "name", req.Name, "from", r.RemoteAddr, "reason", refused.text)
		answer(w, refused.code, enroll.Refusal{Error: refused.text})
	default:
		answer(w, http.StatusServiceUnavailable, enroll.Refusal{Error: err.Error()})
	}
}

type refusal struct {
	code int
	text string
}

func (r refusal) Error() string { return r.text }

func (d *Desk) grant(ctx context.Context, req enroll.Request) (enroll.Grant, error) {
	var g enroll.Grant
	if err := d.state.Linearize(ctx); err != nil {
		return g, err
	}
	v, now := d.state.View(), time.Now()
	if err := checkToken(v, req, now); err != nil {
		return g, err
	}
	subject, err := d.subject(req)
	if err != nil {
		return g, err
	}
	cluster, err := LoadCluster(v)
	if err != nil {
		return g, err
	}
	cert, err := cluster.Authority.Sign(req.CSR, subject, now)
	if err != nil {
		return g, refusal{http.StatusBadRequest, err.Error()}
	}
	g = enroll.Grant{Certificate: cert, GossipKey: cluster.GossipKey, Servers: d.servers(), Cluster: d.cluster}
	if req.Role == pki.RoleServer {
		ring := d.ring()
		g.KeyRing = &ring
	}
	return g, nil
}

// checkToken gives the same answer for an unknown token as for a wrong secret.
func checkToken(v fsm.View, req enroll.Request, now time.Time) error {
	wrong := refusal{http.StatusUnauthorized, "the token is not valid here: print a new one with: holt token create --role " + pki.RoleServer + "|" + pki.RoleAgent}
	o, ok := v.Get(fsm.Key{Resource: "secrets", Namespace: Namespace, Name: tokenPrefix + req.TokenID})
	if !ok {
		return wrong
	}
	s := o.Value.(*corev1.Secret)
	hash := pki.Token{Secret: req.Secret}.SecretHash()
	if s.Type != typeToken || subtle.ConstantTimeCompare([]byte(hash), s.Data[keyHash]) != 1 {
		return wrong
	}
	if expires := string(s.Data[keyExpires]); expires != "" {
		t, err := time.Parse(time.RFC3339, expires)
		if err != nil || !now.Before(t) {
			return refusal{http.StatusUnauthorized, "the token has expired: print a new one with: holt token create --role " + req.Role}
		}
	}
	if role := string(s.Data[keyRole]); role != req.Role {
		return refusal{http.StatusForbidden, fmt.Sprintf("the token is for a node of the role %s, not %s", role, req.Role)}
	}
	return nil
}

func (d *Desk) subject(req enroll.Request) (pki.Subject, error) {
	if errs := validation.IsDNS1123Subdomain(req.Name); len(errs) > 0 {
		return pki.Subject{}, refusal{http.StatusBadRequest, fmt.Sprintf("%q cannot be a node's name: %s", req.Name, errs[0])}
	}
	if slices.Contains(d.serverNames.DNS, req.Name) {
		return pki.Subject{}, refusal{http.StatusBadRequest, fmt.Sprintf("%q is a name of the API: choose another with --name", req.Name)}
	}
	address, err := netip.ParseAddr(req.Address)
	if err != nil || !d.reachable(address) {
		return pki.Subject{}, refusal{http.StatusBadRequest, fmt.Sprintf("%q is not an address that other nodes can reach", req.Address)}
	}
	if d.alive(req.Role, req.Name) {
		return pki.Subject{}, refusal{http.StatusConflict,
			fmt.Sprintf("a living %s has the name %s already: choose another with --name", req.Role, req.Name)}
	}
	switch req.Role {
	case pki.RoleServer:
		s := d.serverNames
		s.User = auth.ServerPrefix + req.Name
		s.DNS = append(append([]string(nil), s.DNS...), req.Name)
		s.IPs = append(append([]net.IP(nil), s.IPs...), address.AsSlice())
		return s, nil
	case pki.RoleAgent:
		return AgentSubject(req.Name, address), nil
	}
	return pki.Subject{}, refusal{http.StatusBadRequest, fmt.Sprintf("%q is not a role", req.Role)}
}

// reachable reports whether a node can have the address: pods and Services have theirs in ranges of their own.
func (d *Desk) reachable(a netip.Addr) bool {
	if !a.Is4() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() && !d.local {
		return false
	}
	return !d.cluster.ClusterCIDR.Contains(a) && !d.cluster.ServiceCIDR.Contains(a)
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // a client that went away needs no answer
}
