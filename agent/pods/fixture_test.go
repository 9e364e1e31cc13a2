package pods_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/agent/image"
	"github.com/holt-project/holt/agent/pods"
	"github.com/holt-project/holt/internal/ociarchive"
)

const testImage = "holt.local/inside:1"

// made once for all tests.
var shimBinary, archive string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "holt-pods-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := buildAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func buildAll(dir string) error {
	inside := filepath.Join(dir, "inside")
	if err := build("CGO_ENABLED=0", "-o", inside, "./testdata/inside"); err != nil {
		return err
	}
	if shimBinary = os.Getenv("HOLT_SHIM"); shimBinary == "" {
		shimBinary = filepath.Join(dir, "holt-shim")
		if err := build("CGO_ENABLED=1", "-tags", "seccomp netgo osusergo", "-ldflags", "-s -w -extldflags -static",
			"-o", shimBinary, "github.com/holt-project/holt/agent/shim"); err != nil {
			return err
		}
	}
	archive = filepath.Join(dir, "inside.tar")
	out, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer out.Close()
	return ociarchive.Write(out, ociarchive.Spec{
		Name: testImage,
		Layers: []ociarchive.Layer{{
			"/inside":     {Source: inside, Mode: 0o755},
			"/etc/passwd": {Data: []byte("root:x:0:0::/:/\nnobody:x:65534:65534::/:/\n")},
			"/tmp/keep":   {Data: []byte("")},
		}},
		Config: ociv1.ImageConfig{Entrypoint: []string{"/inside"}, Env: []string{"FROM_IMAGE=yes"}},
	})
}

func build(env string, args ...string) error {
	cmd := exec.Command("go", append([]string{"build"}, args...)...)
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

var serial atomic.Int64

// node is a manager with a small API of its own.
type node struct {
	*testing.T
	*pods.Manager
	api   *api
	links *links
	cfg   pods.Config
	store *image.Store
	stop  func() // ends the agent, not the pods
}

func newNode(t *testing.T, change ...func(*pods.Config)) *node {
	t.Helper()
	dir := t.TempDir()
	store, err := image.Open(filepath.Join(dir, "images"), image.Options{RetryDelay: time.Millisecond}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.ImportFile(t.Context(), archive); err != nil {
		t.Fatal(err)
	}
	n := &node{T: t, store: store, api: newAPI(), links: &links{}, cfg: pods.Config{
		NodeIP: netip.MustParseAddr("192.0.2.1"), RunDir: filepath.Join(dir, "run"), DataDir: filepath.Join(dir, "data"),
		LogDir: filepath.Join(dir, "logs"), CgroupRoot: fmt.Sprintf("/holt-pods-test-%d-%d", os.Getpid(), serial.Add(1)),
		ShimBinary: shimBinary,
		Resolv:     func(*corev1.Pod) (string, error) { return "nameserver 10.96.0.10\n", nil },
		Timing: pods.Timing{Restart: 20 * time.Millisecond, RestartMax: 50 * time.Millisecond, Pull: 20 * time.Millisecond,
			PullMax: 50 * time.Millisecond, Retry: 5 * time.Millisecond, RetryMax: 100 * time.Millisecond},
	}}
	for _, f := range change {
		f(&n.cfg)
	}
	t.Cleanup(n.cleanUp)
	n.start()
	return n
}

// start begins an agent; there may have been one before.
func (n *node) start() {
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelInfo
	}
	log := slog.New(slog.NewTextHandler(n.Output(), &slog.HandlerOptions{Level: level}))
	n.Manager = pods.New(n.cfg, pods.Parts{Cluster: n.api, Sources: n.api, Images: n.store, Users: n.store, Links: n.links}, log)
	n.api.changed(n.Manager.Sync)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	manager := n.Manager
	go func() { ended <- manager.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			n.Error(err)
		}
	})
}

// cleanUp removes all pods by the agent's own means, and checks that nothing is left of them.
func (n *node) cleanUp() {
	n.api.removeAll()
	n.await("no pod to be left", func() bool { return len(n.Running()) == 0 })
	n.stop()
	if err := n.store.Close(); err != nil {
		n.Error(err)
	}
	for _, dir := range []string{n.cfg.RunDir + "/pods", n.cfg.DataDir + "/pods", n.cfg.LogDir} {
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			n.Errorf("left in %s: %v", dir, entries)
		}
	}
	if mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(filepath.Dir(n.cfg.DataDir))); err != nil || len(mounts) > 0 {
		n.Errorf("mounts left: %v (%v)", mounts, err)
	}
	left, err := filepath.Glob("/sys/fs/cgroup/*" + n.cfg.CgroupRoot + "/pod*")
	if err != nil || len(left) > 0 {
		n.Errorf("cgroups left: %v (%v)", left, err)
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*", "/sys/fs/cgroup"} {
		roots, _ := filepath.Glob(pattern + n.cfg.CgroupRoot)
		for _, root := range roots {
			if err := os.Remove(root); err != nil {
				n.Error(err)
			}
		}
	}
}

// await polls for what no event tells.
func (n *node) await(what string, done func() bool) {
	n.Helper()
	deadline := time.After(90 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			n.Fatalf("waited in vain for %s; the pods: %s; the events: %v", what, n.api.describe(), n.api.eventList())
		case <-tick.C:
		}
	}
}

// waitPod waits until the pod's status is as wanted, and returns it.
func (n *node) waitPod(name, what string, wanted func(*corev1.Pod) bool) *corev1.Pod {
	n.Helper()
	var pod *corev1.Pod
	n.await(name+" to be "+what, func() bool {
		pod = n.api.get(name)
		return pod != nil && wanted(pod)
	})
	return pod
}

func (n *node) waitPhase(name string, phase corev1.PodPhase) *corev1.Pod {
	n.Helper()
	return n.waitPod(name, string(phase), func(p *corev1.Pod) bool { return p.Status.Phase == phase })
}

func (n *node) waitReady(name string) *corev1.Pod {
	n.Helper()
	return n.waitPod(name, "ready", func(p *corev1.Pod) bool { return condition(p, corev1.PodReady) == corev1.ConditionTrue })
}

func (n *node) waitGone(name string) {
	n.Helper()
	n.await(name+" to be gone", func() bool { return n.api.get(name) == nil })
}

// log is the text of a container's latest log.
func (n *node) log(pod, container string) string {
	n.Helper()
	path, _, err := n.ContainerLog("default", pod, container, false)
	if err != nil {
		n.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(n.cfg.LogDir, path))
	if err != nil && !os.IsNotExist(err) {
		n.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(data)) {
		if fields := strings.SplitN(line, " ", 4); len(fields) == 4 {
			out.WriteString(fields[3])
		}
	}
	return out.String()
}

func condition(pod *corev1.Pod, kind corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}

func container(name string, args ...string) corev1.Container {
	return corev1.Container{Name: name, Image: testImage, Args: args}
}

// newPod makes a pod that is never restarted; change adapts it.
func newPod(name string, c ...corev1.Container) *corev1.Pod {
	grace := int64(30)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(fmt.Sprintf("uid-%d-%d", os.Getpid(), serial.Add(1))), Generation: 1},
		Spec:       corev1.PodSpec{Containers: c, RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: &grace, NodeName: "node-1"},
		Status:     corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}},
	}
}

// links gives each pod an address, and remembers.
type links struct {
	mu    sync.Mutex
	addrs map[string]netip.Addr
	next  byte
}

func (l *links) Attach(_ context.Context, uid, netns string) (netip.Addr, error) {
	if _, err := os.Stat(netns); err != nil {
		return netip.Addr{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.addrs == nil {
		l.addrs = map[string]netip.Addr{}
	}
	if _, ok := l.addrs[uid]; !ok {
		l.next++
		l.addrs[uid] = netip.AddrFrom4([4]byte{10, 244, 0, l.next})
	}
	return l.addrs[uid], nil
}

func (l *links) Detach(_ context.Context, uid string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.addrs, uid)
	return nil
}

// api is the little of an API server that a node needs.
type api struct {
	mu       sync.Mutex
	revision int
	pods     map[string]*corev1.Pod // by name
	maps     map[string]*corev1.ConfigMap
	services []*corev1.Service
	events   []string
	history  []*corev1.Pod // every status that was written
	down     bool
	sync     func()
}

func newAPI() *api {
	return &api{pods: map[string]*corev1.Pod{}, maps: map[string]*corev1.ConfigMap{}, sync: func() {}}
}

func (a *api) changed(sync func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sync = sync
}

// put stores a new version of the pod; a.mu is held.
func (a *api) put(pod *corev1.Pod) {
	a.revision++
	pod.ResourceVersion = strconv.Itoa(a.revision)
	a.pods[pod.Name] = pod.DeepCopy()
	go a.sync()
}

func (a *api) create(pod *corev1.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.put(pod)
}

// change edits a pod as another client would.
func (a *api) change(name string, edit func(*corev1.Pod)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	pod := a.pods[name].DeepCopy()
	edit(pod)
	a.put(pod)
}

func (a *api) delete(name string, grace int64) {
	a.change(name, func(p *corev1.Pod) {
		now := metav1.NewTime(time.Now().Add(time.Duration(grace) * time.Second))
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &now, &grace
	})
}

func (a *api) removeAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = false
	clear(a.pods)
	go a.sync()
}

func (a *api) remove(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pods, name)
	go a.sync()
}

func (a *api) get(name string) *corev1.Pod {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pods[name]
}

func (a *api) describe() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out strings.Builder
	for name, p := range a.pods {
		fmt.Fprintf(&out, "%s: %+v\n", name, p.Status)
	}
	return out.String()
}

func (a *api) eventList() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.events...)
}

func (a *api) hasEvent(reason string) bool {
	for _, e := range a.eventList() {
		if strings.Contains(e, " "+reason+": ") {
			return true
		}
	}
	return false
}

func (a *api) setDown(down bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = down
}

func (a *api) UpdateStatus(_ context.Context, pod *corev1.Pod) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	have := a.pods[pod.Name]
	switch {
	case a.down:
		return apierrors.NewServiceUnavailable("away")
	case have == nil || have.UID != pod.UID:
		return apierrors.NewNotFound(corev1.Resource("pods"), pod.Name)
	case have.ResourceVersion != pod.ResourceVersion:
		return apierrors.NewConflict(corev1.Resource("pods"), pod.Name, fmt.Errorf("changed"))
	}
	next := have.DeepCopy()
	next.Status = *pod.Status.DeepCopy()
	a.put(next)
	a.history = append(a.history, next)
	next.DeepCopyInto(pod)
	return nil
}

func (a *api) Finish(_ context.Context, pod *corev1.Pod) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down {
		return apierrors.NewServiceUnavailable("away")
	}
	if have := a.pods[pod.Name]; have != nil && have.UID == pod.UID {
		a.history = append(a.history, have)
		delete(a.pods, pod.Name)
		go a.sync()
	}
	return nil
}

func (a *api) Record(pod *corev1.Pod, kind, reason, message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, fmt.Sprintf("%s %s %s: %s", pod.Name, kind, reason, message))
}

func (a *api) Pods() []*corev1.Pod {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []*corev1.Pod
	for _, p := range a.pods {
		out = append(out, p)
	}
	return out
}

func (a *api) Services(namespace string) []*corev1.Service {
	var out []*corev1.Service
	for _, s := range a.services {
		if s.Namespace == namespace {
			out = append(out, s)
		}
	}
	return out
}

func (a *api) ConfigMap(_ context.Context, _, name string) (*corev1.ConfigMap, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.maps[name]; m != nil {
		return m, nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("configmaps"), name)
}

func (a *api) Secret(_ context.Context, _, name string) (*corev1.Secret, error) {
	return nil, apierrors.NewNotFound(corev1.Resource("secrets"), name)
}
