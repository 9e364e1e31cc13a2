package sandbox_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	"sigs.k8s.io/yaml"
)

// What the imitation does wrong, by the environment: each names a host.
const (
	dieEnv        = "FAKE_DIE"         // prints something and ends
	silentEnv     = "FAKE_SILENT"      // never registers
	ignoreTermEnv = "FAKE_IGNORE_TERM" // does not end on SIGTERM
)

const echoPort = "7"

type fakeFlags struct{ name, data, bind, join, token, run, nodeIP, cgroup string }

// fakeHost imitates holt server and holt agent as far as a sandbox can see: files, sockets, processes, cgroups, mounts
// and links.
func fakeHost(role string, args []string) error {
	if role == "pod" {
		ignored := make(chan os.Signal, 1)
		signal.Notify(ignored, syscall.SIGTERM)
		for {
			<-ignored
		}
	}
	var f fakeFlags
	var other string
	flags := flag.NewFlagSet(role, flag.ContinueOnError)
	for name, to := range map[string]*string{
		"name": &f.name, "data-dir": &f.data, "bind": &f.bind, "join": &f.join, "token-file": &f.token, "run-dir": &f.run,
		"node-ip": &f.nodeIP, "cgroup-root": &f.cgroup, "import-dir": &other, "resolv-conf": &other,
		"cluster-cidr": &other, "service-cidr": &other,
	} {
		flags.StringVar(to, name, "", "")
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	log.Printf("%s starts", f.name)
	if os.Getenv(dieEnv) == f.name {
		return fmt.Errorf("%s was told to die", f.name)
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	if os.Getenv(ignoreTermEnv) == f.name {
		stop = context.Background()
	}
	if role == "agent" {
		return fakeAgent(stop, f)
	}
	return fakeServer(stop, f)
}

func fakeServer(ctx context.Context, f fakeFlags) error {
	if f.join == "" {
		f.token = filepath.Join(f.data, "server-token")
		if _, err := os.Stat(f.token); err != nil {
			if err := bootstrap(f); err != nil {
				return err
			}
		}
	}
	ca, err := readToken(f.token)
	if err != nil {
		return err
	}
	cert, err := ca.issue(f.name, net.ParseIP(f.bind))
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr:    net.JoinHostPort(f.bind, "6443"),
		Handler: fakeAPI(f.name),
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{cert}, ClientCAs: ca.pool(), ClientAuth: tls.RequireAndVerifyClientCert,
		},
	}
	echo, err := net.Listen("tcp", net.JoinHostPort(f.bind, echoPort))
	if err != nil {
		return err
	}
	go serveEcho(echo)
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServeTLS("", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func fakeAPI(name string) http.Handler {
	var mu sync.Mutex
	nodes := map[string]bool{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /holt/v1/status", func(w http.ResponseWriter, _ *http.Request) {
		role := "follower"
		if name == "server-1" {
			role = "leader"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"name": name, "role": role, "voter": true, "leader": "server-1", "term": 1})
	})
	mux.HandleFunc("GET /api/v1/nodes", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var list corev1.NodeList
		for node := range nodes {
			list.Items = append(list.Items, corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: node},
				Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: "Ready", Status: "True"}}},
			})
		}
		_ = json.NewEncoder(w).Encode(list)
	})
	mux.HandleFunc("POST /nodes/{name}", func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		nodes[r.PathValue("name")] = true
	})
	return mux
}

func serveEcho(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			_, _ = io.Copy(c, c)
		}()
	}
}

func fakeAgent(ctx context.Context, f fakeFlags) error {
	if err := runFakePod(f); err != nil {
		return err
	}
	ca, err := readToken(f.token)
	if err != nil {
		return err
	}
	cert, err := ca.issue(f.name, nil)
	if err != nil {
		return err
	}
	client := http.Client{
		Timeout:   time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{cert}}},
	}
	for {
		for server := range strings.SplitSeq(f.join, ",") {
			if os.Getenv(silentEnv) == f.name {
				continue
			}
			if resp, err := client.Post(server+"/nodes/"+f.name, "", nil); err == nil {
				_ = resp.Body.Close()
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// runFakePod starts what outlives an agent: a process in a session and cgroup of its own, a mount and a link.
func runFakePod(f fakeFlags) error {
	pidFile := filepath.Join(f.run, "pod.pid")
	if _, err := os.Stat(pidFile); err == nil {
		return nil
	}
	mount := filepath.Join(f.run, "pod", "volume")
	if err := os.MkdirAll(mount, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, ""); err != nil {
		return err
	}
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "pod0"}, PeerName: "pod0-peer"}
	if err := netlink.LinkAdd(link); err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", "pod")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := enterPodCgroup(filepath.Join(f.cgroup, "pod"), cmd.Process.Pid); err != nil {
		return err
	}
	return os.WriteFile(pidFile, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
}

// enterPodCgroup does as runc does: the controllers of version 1 if there are any, else version 2.
func enterPodCgroup(path string, pid int) error {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if (m.FSType == "cgroup2" && len(mounts) > 1) || strings.Contains(m.VFSOptions, "cpuset") {
			continue
		}
		dir := filepath.Join(m.Mountpoint, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return err
		}
	}
	return nil
}

// fakeCA is the cluster's CA; a token of the imitation is its certificate and key.
type fakeCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func bootstrap(f fakeFlags) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := certTemplate("fake CA")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	ca := fakeCA{key: key}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	admin, err := ca.issue("admin", nil)
	if err != nil {
		return err
	}
	certPEM, keyPEM, err := encodePair(admin.Certificate[0], admin.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		return err
	}
	caPEM, caKeyPEM, err := encodePair(der, key)
	if err != nil {
		return err
	}
	kubeconfig, err := yaml.Marshal(clientcmdv1.Config{
		Kind: "Config", APIVersion: "v1", CurrentContext: "holt",
		Clusters: []clientcmdv1.NamedCluster{{Name: "holt", Cluster: clientcmdv1.Cluster{
			Server: "https://" + f.bind + ":6443", CertificateAuthorityData: caPEM}}},
		AuthInfos: []clientcmdv1.NamedAuthInfo{{Name: "admin", AuthInfo: clientcmdv1.AuthInfo{
			ClientCertificateData: certPEM, ClientKeyData: keyPEM}}},
		Contexts: []clientcmdv1.NamedContext{{Name: "holt", Context: clientcmdv1.Context{Cluster: "holt", AuthInfo: "admin"}}},
	})
	if err != nil {
		return err
	}
	token := append(caPEM, caKeyPEM...)
	return errors.Join(
		os.WriteFile(filepath.Join(f.data, "admin.kubeconfig"), kubeconfig, 0o600),
		os.WriteFile(filepath.Join(f.data, "agent-token"), token, 0o600),
		os.WriteFile(filepath.Join(f.data, "server-token"), token, 0o600),
	)
}

func readToken(file string) (*fakeCA, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, err
	}
	return &fakeCA{cert: pair.Leaf, key: pair.PrivateKey.(*ecdsa.PrivateKey)}, nil
}

func (ca *fakeCA) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

func (ca *fakeCA) issue(name string, ip net.IP) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := certTemplate(name)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func certTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
}

func encodePair(der []byte, key *ecdsa.PrivateKey) (certPEM, keyPEM []byte, err error) {
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	var c, k bytes.Buffer
	err = errors.Join(
		pem.Encode(&c, &pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.Encode(&k, &pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}),
	)
	return c.Bytes(), k.Bytes(), err
}
