package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/internal/client"
	"github.com/holt-project/holt/internal/pki"
)

// The resources that an agent uses.
var (
	podsGVR       = corev1.SchemeGroupVersion.WithResource("pods")
	nodesGVR      = corev1.SchemeGroupVersion.WithResource("nodes")
	servicesGVR   = corev1.SchemeGroupVersion.WithResource("services")
	slicesGVR     = discoveryv1.SchemeGroupVersion.WithResource("endpointslices")
	configMapsGVR = corev1.SchemeGroupVersion.WithResource("configmaps")
	secretsGVR    = corev1.SchemeGroupVersion.WithResource("secrets")
	eventsGVR     = corev1.SchemeGroupVersion.WithResource("events")
)

const (
	// eventQueue bounds the events that wait to be written; those above are dropped.
	eventQueue   = 1024
	eventTimeout = 10 * time.Second
)

// cluster is the agent's view of the API: what pods.Cluster and pods.Sources ask for.
type cluster struct {
	client   *client.Client
	node     string
	pods     *client.Cache[corev1.Pod, *corev1.Pod]
	nodes    *client.Cache[corev1.Node, *corev1.Node]
	services *client.Cache[corev1.Service, *corev1.Service]
	slices   *client.Cache[discoveryv1.EndpointSlice, *discoveryv1.EndpointSlice]
	events   chan *corev1.Event
	serial   atomic.Int64
	log      *slog.Logger
}

// newCluster makes the caches. changed is called with the name of what changed; it must not block.
func newCluster(c *client.Client, node string, changed func(what string), log *slog.Logger) *cluster {
	tell := func(what string) func() { return func() { changed(what) } }
	return &cluster{
		client: c, node: node, log: log, events: make(chan *corev1.Event, eventQueue),
		pods:     client.NewCache[corev1.Pod](c, podsGVR, "spec.nodeName="+node, tell(changedPods), log),
		nodes:    client.NewCache[corev1.Node](c, nodesGVR, "", tell(changedNodes), log),
		services: client.NewCache[corev1.Service](c, servicesGVR, "", tell(changedServices), log),
		slices:   client.NewCache[discoveryv1.EndpointSlice](c, slicesGVR, "", tell(changedServices), log),
	}
}

// What newCluster's changed is told.
const (
	changedPods     = "pods"
	changedNodes    = "nodes"
	changedServices = "services"
)

// Pods are those bound to this node.
func (c *cluster) Pods() []*corev1.Pod { return c.pods.List() }

// Services are those of one namespace.
func (c *cluster) Services(namespace string) []*corev1.Service {
	var some []*corev1.Service
	for _, s := range c.services.List() {
		if s.Namespace == namespace {
			some = append(some, s)
		}
	}
	return some
}

// ConfigMap reads one from the API: the agent may read only those that its pods refer to, one by one.
func (c *cluster) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	o := &corev1.ConfigMap{}
	return o, c.client.Get(ctx, configMapsGVR, namespace, name, o)
}

// Secret reads one from the API, as ConfigMap does.
func (c *cluster) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	o := &corev1.Secret{}
	return o, c.client.Get(ctx, secretsGVR, namespace, name, o)
}

// UpdateStatus writes a pod's status.
func (c *cluster) UpdateStatus(ctx context.Context, pod *corev1.Pod) error {
	return c.client.Update(ctx, podsGVR, pod, "status")
}

// Finish deletes a pod that has ended here. One that is gone already is fine.
func (c *cluster) Finish(ctx context.Context, pod *corev1.Pod) error {
	zero := int64(0)
	err := c.client.Delete(ctx, podsGVR, pod.Namespace, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &pod.UID}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// Record queues an event about a pod. Events are for people: when too many wait, the newest are dropped.
func (c *cluster) Record(pod *corev1.Pod, kind, reason, message string) {
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	e := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Name:      fmt.Sprintf("%s.%x", pod.Name, time.Now().UnixNano()+c.serial.Add(1)),
			Namespace: pod.Namespace,
		},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name,
			UID: pod.UID, ResourceVersion: pod.ResourceVersion},
		Type: kind, Reason: reason, Message: message,
		Source:              corev1.EventSource{Component: "kubelet", Host: c.node},
		ReportingController: "kubelet", ReportingInstance: c.node,
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	select {
	case c.events <- e:
	default:
		c.log.Warn("an event was dropped: too many wait", "pod", pod.Name, "reason", reason)
	}
}

// writeEvents writes what Record queued, until ctx ends.
func (c *cluster) writeEvents(ctx context.Context) {
	for {
		select {
		case e := <-c.events:
			bounded, cancel := context.WithTimeout(ctx, eventTimeout)
			if err := c.client.Create(bounded, eventsGVR, e); err != nil && ctx.Err() == nil {
				c.log.Warn("an event could not be written", "reason", e.Reason, "about", e.InvolvedObject.Name, "error", err)
			}
			cancel()
		case <-ctx.Done():
			return
		}
	}
}

// serverURLs are the servers that the Service default/kubernetes leads to.
func (c *cluster) serverURLs() []string {
	var urls []string
	for _, s := range c.slices.List() {
		if s.Namespace != metav1.NamespaceDefault || s.Labels[discoveryv1.LabelServiceName] != "kubernetes" || len(s.Ports) == 0 {
			continue
		}
		for _, e := range s.Endpoints {
			urls = append(urls, fmt.Sprintf("https://%s:%d", e.Addresses[0], *s.Ports[0].Port))
		}
	}
	return urls
}

// allow reports whether a request to the agent comes from a server of the cluster.
func allow(r *http.Request) bool {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return false
	}
	return slices.Contains(r.TLS.VerifiedChains[0][0].Subject.Organization, pki.ServersGroup)
}
