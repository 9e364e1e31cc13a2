package side

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holt-project/holt/internal/pki"
)

// Ports of the peers.
const (
	apiserverPort = 6443
	etcdPort      = 2379
	etcdPeerPort  = 2380
	// etcdHealthPort serves metrics and health, in clear text as kubeadm sets it.
	etcdHealthPort = 2381
)

// advertised is an address of the range for documentation: kube-apiserver refuses to advertise loopback, and nobody
// follows what it advertises.
const advertised = "192.0.2.1"

// kubernetes is some members of etcd and one kube-apiserver.
type kubernetes struct {
	apiserver, etcd string // binaries
	dir             string
	members         int
	admin           pki.Identity
}

// Kubernetes makes a cluster of kube-apiserver and some members of etcd that keeps its files in dir; it does not run yet.
// The certificates are there before it starts, as kubeadm makes them.
func Kubernetes(apiserver, etcd, dir string, members int) (*Cluster, error) {
	k := &kubernetes{apiserver: apiserver, etcd: etcd, dir: dir, members: members}
	if err := k.certify(); err != nil {
		return nil, err
	}
	return newCluster(dir, k), nil
}

// certify makes an authority and one certificate for all servers, one for kube-apiserver as etcd's client and one for
// the administrator.
func (k *kubernetes) certify() error {
	now := time.Now()
	ca, err := pki.NewAuthority(now)
	if err != nil {
		return err
	}
	// A member of etcd wants to find in its peer's certificate the address that the connection comes from; Linux takes
	// this one to reach any other of loopback.
	addresses := []net.IP{net.IPv4(127, 0, 0, 1)}
	for i := range k.members {
		addresses = append(addresses, net.ParseIP(loopback(i)))
	}
	serving, err := ca.Issue(pki.Subject{User: "server", IPs: addresses}, now)
	if err != nil {
		return err
	}
	inner, err := ca.Issue(pki.Subject{User: "kube-apiserver-etcd-client"}, now)
	if err != nil {
		return err
	}
	admin, err := ca.Issue(pki.Subject{User: "kubernetes-admin", Groups: []string{"system:masters"}}, now)
	if err != nil {
		return err
	}
	k.admin = pki.Identity{Pair: admin, AuthorityPEM: ca.CertPEM}
	for file, data := range map[string][]byte{
		"ca.crt": ca.CertPEM, "server.crt": serving.CertPEM, "server.key": serving.KeyPEM,
		"client.crt": inner.CertPEM, "client.key": inner.KeyPEM,
	} {
		if err := os.WriteFile(k.path(file), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (k *kubernetes) path(file string) string { return filepath.Join(k.dir, file) }

func (k *kubernetes) administrator() (pki.Identity, error) { return k.admin, nil }

func url(scheme string, host, port int) string {
	return fmt.Sprintf("%s://%s:%d", scheme, loopback(host), port)
}

func (k *kubernetes) programs() []program {
	var out []program
	for i := range k.members {
		out = append(out, k.member(i))
	}
	return append(out, k.server())
}

func memberName(i int) string { return fmt.Sprintf("etcd-%d", i+1) }

func (k *kubernetes) member(i int) program {
	var cluster []string
	for n := range k.members {
		cluster = append(cluster, memberName(n)+"="+url("https", n, etcdPeerPort))
	}
	client, peer, health := url("https", i, etcdPort), url("https", i, etcdPeerPort), url("http", i, etcdHealthPort)
	return program{
		name:  memberName(i),
		ready: health + "/readyz",
		command: []string{k.etcd,
			"--name=" + memberName(i),
			"--data-dir=" + k.path(memberName(i)),
			"--listen-client-urls=" + client,
			"--advertise-client-urls=" + client,
			"--listen-peer-urls=" + peer,
			"--initial-advertise-peer-urls=" + peer,
			"--initial-cluster=" + strings.Join(cluster, ","),
			"--listen-metrics-urls=" + health,
			"--snapshot-count=10000",
			"--watch-progress-notify-interval=5s",
			"--client-cert-auth=true",
			"--trusted-ca-file=" + k.path("ca.crt"),
			"--cert-file=" + k.path("server.crt"),
			"--key-file=" + k.path("server.key"),
			"--peer-client-cert-auth=true",
			"--peer-trusted-ca-file=" + k.path("ca.crt"),
			"--peer-cert-file=" + k.path("server.crt"),
			"--peer-key-file=" + k.path("server.key"),
		},
	}
}

func (k *kubernetes) server() program {
	var members []string
	for i := range k.members {
		members = append(members, url("https", i, etcdPort))
	}
	api := url("https", 0, apiserverPort)
	return program{
		name: "kube-apiserver", api: api, ready: api + "/readyz",
		command: []string{k.apiserver,
			"--bind-address=" + loopback(0),
			"--secure-port=" + fmt.Sprint(apiserverPort),
			"--advertise-address=" + advertised,
			"--allow-privileged=true",
			"--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction",
			// Without the controller that makes service accounts, it would refuse every pod.
			"--disable-admission-plugins=ServiceAccount",
			"--client-ca-file=" + k.path("ca.crt"),
			"--tls-cert-file=" + k.path("server.crt"),
			"--tls-private-key-file=" + k.path("server.key"),
			"--etcd-servers=" + strings.Join(members, ","),
			"--etcd-cafile=" + k.path("ca.crt"),
			"--etcd-certfile=" + k.path("client.crt"),
			"--etcd-keyfile=" + k.path("client.key"),
			"--service-cluster-ip-range=10.96.0.0/12",
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file=" + k.path("server.key"),
			"--service-account-signing-key-file=" + k.path("server.key"),
		},
	}
}

// leads asks a member's metrics.
func (k *kubernetes) leads(ctx context.Context, c *http.Client, p program) (bool, error) {
	base, isMember := strings.CutSuffix(p.ready, "/readyz")
	if !isMember || p.api != "" {
		return false, nil
	}
	body, err := get(ctx, c, base+"/metrics")
	return bytes.Contains(body, []byte("\netcd_server_is_leader 1\n")), err
}
