package pods

import (
	"context"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/agent/image"
	"github.com/holt-project/holt/agent/pods/oci"
)

// Cluster is where a pod's fate is told.
type Cluster interface {
	// UpdateStatus writes pod.Status under the precondition of its resourceVersion, and fills in what the API
	// made of it. It returns the API's errors as they are (apierrors.IsConflict, IsNotFound).
	UpdateStatus(ctx context.Context, pod *corev1.Pod) error
	// Finish deletes the object with grace period 0 and its UID as precondition.
	Finish(ctx context.Context, pod *corev1.Pod) error
	// Record makes an Event about the pod; kind is Normal or Warning. It must not block.
	Record(pod *corev1.Pod, kind, reason, message string)
}

// Sources is what is desired, and what pods refer to. Objects are not changed by either side.
type Sources interface {
	// Pods are all pods bound to this node, from a cache that holds a whole list before Run is called.
	Pods() []*corev1.Pod
	// Services are those of one namespace.
	Services(namespace string) []*corev1.Service
	oci.Source
}

// Images is the node's image store.
type Images interface {
	Lookup(ref string) (image.Image, bool)
	Pull(ctx context.Context, ref string, auth image.Auth) (image.Image, error)
	Mount(ctx context.Context, img image.Image, dir string) (rootfs string, err error)
	Unmount(dir string) error
}

// Links gives pods their network. Both methods may be repeated; Attach then returns the same address.
type Links interface {
	Attach(ctx context.Context, uid, netnsPath string) (netip.Addr, error)
	Detach(ctx context.Context, uid string) error
}

// Parts are what a Manager works with.
type Parts struct {
	Cluster Cluster
	Sources Sources
	Images  Images
	Users   oci.Resolver
	Links   Links
}

// Config says where and how. NodeIP, RunDir, DataDir, LogDir, CgroupRoot and ShimBinary are required.
type Config struct {
	NodeIP netip.Addr
	// RunDir may be emptied by a restart of the machine; DataDir and LogDir may not.
	RunDir, DataDir, LogDir string
	// CgroupRoot is the group below which each pod has its own: absolute, clean, not the root.
	CgroupRoot string
	ShimBinary string
	// ClusterDomain is the end of the names of pods with a subdomain. Empty means cluster.local.
	ClusterDomain string
	// Resolv makes a pod's resolv.conf. Nil leaves the image's own.
	Resolv func(*corev1.Pod) (string, error)
	// Capacity of the node: CPU and memory.
	Capacity corev1.ResourceList
	// LogMaxSize in bytes, after which a container's log is rotated once. Zero means 10 MiB.
	LogMaxSize int64
	Timing     Timing
}

// Timing holds the pauses; zero values mean Kubernetes' own.
type Timing struct {
	// The first restart of a container is immediate; then Restart (10 s) doubles up to RestartMax (5 m), and is
	// forgotten after RestartReset (10 m) of running.
	Restart, RestartMax, RestartReset time.Duration
	// A failed pull is repeated after Pull (10 s), doubling up to PullMax (5 m).
	Pull, PullMax time.Duration
	// What fails otherwise is repeated after Retry (100 ms), doubling up to RetryMax (20 s).
	Retry, RetryMax time.Duration
	// ForcedGrace (2 s) is for pods that are gone from the API without having been told to end.
	ForcedGrace time.Duration
	// KillWait (15 s) is how long SIGKILL may take before the sandbox is torn down around it.
	KillWait time.Duration
	// Call (10 s) bounds one call of a shim; making or ending containers may take six times as long.
	Call time.Duration
}

func (c Config) withDefaults() Config {
	or := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	t := &c.Timing
	or(&t.Restart, 10*time.Second)
	or(&t.RestartMax, 5*time.Minute)
	or(&t.RestartReset, 10*time.Minute)
	or(&t.Pull, 10*time.Second)
	or(&t.PullMax, 5*time.Minute)
	or(&t.Retry, 100*time.Millisecond)
	or(&t.RetryMax, 20*time.Second)
	or(&t.ForcedGrace, 2*time.Second)
	or(&t.KillWait, 15*time.Second)
	or(&t.Call, 10*time.Second)
	if c.ClusterDomain == "" {
		c.ClusterDomain = "cluster.local"
	}
	if c.LogMaxSize <= 0 {
		c.LogMaxSize = 10 << 20
	}
	return c
}

// backoff is a pause that doubles.
type backoff struct{ first, most, next time.Duration }

func (b *backoff) pause() time.Duration {
	out := max(b.next, b.first)
	b.next = min(2*out, b.most)
	return out
}

func (b *backoff) reset() { b.next = 0 }
