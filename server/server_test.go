package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/internal/client"
	"github.com/holt-project/holt/server"
)

// A question of gossip that is under way when a pool is closed ends by itself within its deadline of two seconds; the
// library does not wait for it.
func TestMain(m *testing.M) {
	const library = "github.com/hashicorp/memberlist.(*Memberlist)."
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(library+"pushPull"), goleak.IgnoreAnyFunction(library+"probe"),
		goleak.IgnoreAnyFunction(library+"pushPullTrigger"), goleak.IgnoreAnyFunction(library+"triggerFunc"))
}

// config describes a server on a loopback address of its own.
func config(t *testing.T, name string) server.Config {
	t.Helper()
	id := uuid.New()
	bind := netip.AddrFrom4([4]byte{127, 100 + id[0]%100, id[1], 1 + id[2]%250})
	return server.Config{
		Name: name, DataDir: filepath.Join(t.TempDir(), "data"), Bind: bind, Port: free(t, bind), GossipPort: 17946,
		ClusterCIDR: netip.MustParsePrefix(server.DefaultClusterCIDR), ServiceCIDR: netip.MustParsePrefix(server.DefaultServiceCIDR),
		HeartbeatTimeout: server.DefaultHeartbeatTimeout, ElectionTimeout: server.DefaultElectionTimeout, MinVoters: server.DefaultMinVoters,
		Log: slog.New(slog.DiscardHandler),
	}
}

func free(t *testing.T, bind netip.Addr) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(bind, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// run starts a server and waits until it is ready. stop ends it; the end of the test does too.
func run(t *testing.T, c server.Config) (stop func()) {
	t.Helper()
	ready, done := make(chan struct{}), make(chan error, 1)
	c.Ready = func() { close(ready) }
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- server.Run(ctx, c) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server %s ended with: %v", c.Name, err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("server %s: %v", c.Name, err)
	}
	return stop
}

func api(t *testing.T, c server.Config) *client.Client {
	t.Helper()
	cl, err := client.FromKubeconfig(filepath.Join(c.DataDir, "admin.kubeconfig"), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

var (
	configMaps = corev1.SchemeGroupVersion.WithResource("configmaps")
	namespaces = corev1.SchemeGroupVersion.WithResource("namespaces")
	services   = corev1.SchemeGroupVersion.WithResource("services")
	secrets    = corev1.SchemeGroupVersion.WithResource("secrets")
	slices     = discoveryv1.SchemeGroupVersion.WithResource("endpointslices")
)

func note(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: map[string]string{"a": "b"}}
}

func TestOneServer(t *testing.T) {
	c := config(t, "s1")
	stop := run(t, c)
	cl := api(t, c)
	ctx := t.Context()
	for _, name := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
		if err := cl.Get(ctx, namespaces, "", name, &corev1.Namespace{}); err != nil {
			t.Error(err)
		}
	}
	var svc corev1.Service
	if err := cl.Get(ctx, services, "default", "kubernetes", &svc); err != nil || svc.Spec.ClusterIP != "10.43.0.1" {
		t.Errorf("the API's Service: %v, %s", err, svc.Spec.ClusterIP)
	}
	found := make(chan struct{}, 1)
	cache := client.NewCache[discoveryv1.EndpointSlice](cl, slices, "", func() {
		select {
		case found <- struct{}{}:
		default:
		}
	}, c.Log)
	watching, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { cache.Run(watching) })
	for cache.Get("default", "kubernetes") == nil {
		<-found
	}
	if e := cache.Get("default", "kubernetes"); len(e.Endpoints) != 1 || e.Endpoints[0].Addresses[0] != c.Bind.String() {
		t.Errorf("endpoints %+v", e.Endpoints)
	}
	cancel()
	wg.Wait()
	checkFiles(t, c)
	if err := cl.Create(ctx, configMaps, note("kept")); err != nil {
		t.Fatal(err)
	}
	second := c
	second.Port = free(t, c.Bind)
	if err := server.Run(ctx, second); err == nil || !strings.Contains(err.Error(), "in use by another server") {
		t.Errorf("a second server in the same folder: %v", err)
	}
	elsewhere := c
	elsewhere.DataDir = t.TempDir()
	if err := server.Run(ctx, elsewhere); err == nil || !strings.Contains(err.Error(), "choose another address or port") {
		t.Errorf("the same port: %v", err)
	}
	token := tokenSecret(t, c)
	if err := cl.Delete(ctx, secrets, "kube-system", token, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	stop()

	other := c
	other.Name = "s2"
	if err := server.Run(ctx, other); err == nil || !strings.Contains(err.Error(), "--name s1") {
		t.Errorf("another server's folder: %v", err)
	}
	moved := c
	moved.Bind = netip.MustParseAddr("127.99.0.1")
	if err := server.Run(ctx, moved); err == nil || !strings.Contains(err.Error(), "--bind 127.99.0.1") {
		t.Errorf("another address: %v", err)
	}

	run(t, c)
	var after corev1.Service
	if err := cl.Get(ctx, services, "default", "kubernetes", &after); err != nil || after.UID != svc.UID {
		t.Errorf("after a restart: %v, UID %s, not %s", err, after.UID, svc.UID)
	}
	if err := cl.Get(ctx, configMaps, "default", "kept", &corev1.ConfigMap{}); err != nil {
		t.Error(err)
	}
	if err := cl.Get(ctx, secrets, "kube-system", token, &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("a revoked token after a restart: %v", err)
	}
}

func checkFiles(t *testing.T, c server.Config) {
	t.Helper()
	for _, name := range []string{"admin.kubeconfig", "server-token", "agent-token", "gossip.key", "tls/identity.pem", "cluster.json"} {
		info, err := os.Stat(filepath.Join(c.DataDir, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode().Perm())
		}
	}
	if _, err := os.Stat(filepath.Join(c.DataDir, "bootstrap.json")); !os.IsNotExist(err) {
		t.Errorf("the founding is still there: %v", err)
	}
	if info, err := os.Stat(c.DataDir); err != nil || info.Mode().Perm() != fs.FileMode(0o700) {
		t.Errorf("the data folder: %v, %v", info.Mode(), err)
	}
}

func readToken(t *testing.T, c server.Config, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.DataDir, file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

func tokenSecret(t *testing.T, c server.Config) string {
	t.Helper()
	return "holt-token-" + strings.Split(readToken(t, c, "agent-token"), ".")[2]
}

func TestFoundingIsCompletedAfterACrash(t *testing.T) {
	c := config(t, "s1")
	stop := run(t, c)
	token := readToken(t, c, "server-token")
	stop()
	// As after a crash between founding and storing: the log is not there yet, the founding is.
	var founding struct {
		CACert, CAKey, GossipKey []byte
		Tokens                   []struct{ Role, ID, Secret, Fingerprint string }
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(c.DataDir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	restarted := run(t, c)
	var cluster corev1.Secret
	if err := api(t, c).Get(t.Context(), secrets, "kube-system", "holt-cluster", &cluster); err != nil {
		t.Fatal(err)
	}
	restarted()
	founding.CACert, founding.CAKey, founding.GossipKey = cluster.Data["ca.crt"], cluster.Data["ca.key"], read("gossip.key")
	for _, file := range []string{"server-token", "agent-token"} {
		p := strings.Split(readToken(t, c, file), ".")
		founding.Tokens = append(founding.Tokens, struct{ Role, ID, Secret, Fingerprint string }{p[1], p[2], p[3], p[4]})
	}
	data, err := json.Marshal(founding)
	if err != nil {
		t.Fatal(err)
	}
	if data, err = ringOf(t, c).Seal(data, []byte("holt founding")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.DataDir, "bootstrap.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, lost := range []string{"raft", "admin.kubeconfig", "server-token", "agent-token"} {
		if err := os.RemoveAll(filepath.Join(c.DataDir, lost)); err != nil {
			t.Fatal(err)
		}
	}
	run(t, c)
	checkFiles(t, c)
	if got := readToken(t, c, "server-token"); got != token {
		t.Errorf("token %s, not %s", got, token)
	}
	if err := api(t, c).Get(t.Context(), secrets, "kube-system", tokenSecret(t, c), &corev1.Secret{}); err != nil {
		t.Error(err)
	}
}

func TestThreeServers(t *testing.T) {
	first := config(t, "s1")
	stops := []func(){run(t, first)}
	all := []server.Config{first}
	for i := 2; i <= 3; i++ {
		c := config(t, fmt.Sprintf("s%d", i))
		c.Token, c.Join = readToken(t, first, "server-token"), []string{fmt.Sprintf("https://%s:%d", first.Bind, first.Port)}
		c.ClusterCIDR = netip.MustParsePrefix("10.99.0.0/16") // what the cluster agreed on counts
		stops = append(stops, run(t, c))
		all = append(all, c)
	}
	ctx := t.Context()
	for i, c := range all { // a write at any is seen at all
		name := fmt.Sprintf("note-%d", i)
		if err := api(t, c).Create(ctx, configMaps, note(name)); err != nil {
			t.Fatal(err)
		}
		for _, other := range all {
			if err := api(t, other).Get(ctx, configMaps, "default", name, &corev1.ConfigMap{}); err != nil {
				t.Errorf("written at %s, read at %s: %v", c.Name, other.Name, err)
			}
		}
	}
	var cluster struct{ ClusterCIDR string }
	data, err := os.ReadFile(filepath.Join(all[2].DataDir, "cluster.json"))
	if err != nil || json.Unmarshal(data, &cluster) != nil || cluster.ClusterCIDR != server.DefaultClusterCIDR {
		t.Errorf("the joined server's range is %q: %v", cluster.ClusterCIDR, err)
	}
	stops[2]()
	again := all[2]
	again.Join, again.Token = nil, "" // a member needs neither
	run(t, again)
	if err := api(t, again).Get(ctx, configMaps, "default", "note-0", &corev1.ConfigMap{}); err != nil {
		t.Error(err)
	}
	wrong := config(t, "w1")
	wrong.Token, wrong.Join = readToken(t, first, "agent-token"), []string{first.Bind.String()}
	if err := server.Run(ctx, wrong); err == nil || !strings.Contains(err.Error(), "--role server") {
		t.Errorf("with an agent's token: %v", err)
	}
}

func TestMistakesAreToldAtOnce(t *testing.T) {
	err := server.Run(t.Context(), server.Config{
		Name: "Not A Name", Join: []string{"http://x", "ok"}, UnreachableSeconds: -1, DeadServerAfter: 1,
		ClusterCIDR: netip.MustParsePrefix("10.0.0.0/8"), ServiceCIDR: netip.MustParsePrefix("10.1.0.0/30"),
		Log: slog.New(slog.DiscardHandler),
	})
	if err == nil {
		t.Fatal("a server without a configuration ran")
	}
	for _, want := range []string{"--name", "--bind", "--data-dir", "--port", "--unreachable-seconds", "--service-cidr", "must not overlap", "--join",
		"--heartbeat-timeout", "--dead-server-after", "--min-voters"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not named in: %v", want, err)
		}
	}
	inside := config(t, "s1")
	inside.ServiceCIDR = netip.PrefixFrom(inside.Bind, 16).Masked()
	if err := server.Run(t.Context(), inside); err == nil || !strings.Contains(err.Error(), "must not contain this server's address") {
		t.Errorf("an address among the Services': %v", err)
	}
}
