package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/holt-project/holt/internal/client"
)

// Resources that are asked for through the API.
var (
	Namespaces  = corev1.SchemeGroupVersion.WithResource("namespaces")
	NodesKind   = corev1.SchemeGroupVersion.WithResource("nodes")
	PodsKind    = corev1.SchemeGroupVersion.WithResource("pods")
	ConfigMaps  = corev1.SchemeGroupVersion.WithResource("configmaps")
	Services    = corev1.SchemeGroupVersion.WithResource("services")
	Deployments = appsv1.SchemeGroupVersion.WithResource("deployments")
)

// requestTimeout bounds one question, so that a server that lost its power does not use up all the time.
const requestTimeout = 5 * time.Second

// List lists the objects of one kind in a namespace ("" for all) that match a label selector ("" for all).
func List[L any](ctx context.Context, c *client.Client, r schema.GroupVersionResource, namespace, selector string) (L, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var list L
	query := url.Values{"labelSelector": {selector}}.Encode()
	err := c.Do(ctx, client.Request{Method: http.MethodGet, Path: client.Path(r, namespace, "", ""), Query: query}, &list)
	return list, err
}

// Pods lists pods by name, except those that are being deleted.
func (c *Cluster) Pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	list, err := List[corev1.PodList](ctx, c.API, PodsKind, namespace, selector)
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return pods, err
}

// Ready tells whether a pod's Ready condition is true.
func Ready(p *corev1.Pod) bool {
	for _, condition := range p.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// AwaitPods waits until there are exactly want pods, all ready and all accepted by where (nil accepts any).
func (c *Cluster) AwaitPods(ctx context.Context, namespace, selector string, want int, where func(*corev1.Pod) bool) ([]corev1.Pod, error) {
	var pods []corev1.Pod
	err := Await(ctx, fmt.Sprintf("%d pods are ready", want), func(ctx context.Context) error {
		var err error
		if pods, err = c.Pods(ctx, namespace, selector); err != nil {
			return err
		}
		ready := 0
		for i := range pods {
			if Ready(&pods[i]) && (where == nil || where(&pods[i])) {
				ready++
			}
		}
		if ready != want || len(pods) != want {
			return fmt.Errorf("%d of %d pods are: %s", ready, len(pods), Describe(pods))
		}
		return nil
	})
	return pods, err
}

// Describe tells of each pod what a failed wait wants to know.
func Describe(pods []corev1.Pod) []string {
	var out []string
	for i := range pods {
		p := &pods[i]
		line := fmt.Sprintf("%s on %q %s ready=%t", p.Name, p.Spec.NodeName, p.Status.Phase, Ready(p))
		for _, s := range p.Status.ContainerStatuses {
			if s.State.Waiting != nil {
				line += " " + s.State.Waiting.Reason + ": " + s.State.Waiting.Message
			}
		}
		for _, condition := range p.Status.Conditions {
			if condition.Type == corev1.PodScheduled && condition.Status != corev1.ConditionTrue {
				line += " " + condition.Reason + ": " + condition.Message
			}
		}
		out = append(out, line)
	}
	return out
}

// Lives tells of each container of running pods when it started and how often it was started again: the same text
// later means that nobody noticed what happened between.
func Lives(pods []corev1.Pod) []string {
	var out []string
	for i := range pods {
		for _, s := range pods[i].Status.ContainerStatuses {
			started := "not running"
			if s.State.Running != nil {
				started = s.State.Running.StartedAt.UTC().Format(time.RFC3339)
			}
			out = append(out, fmt.Sprintf("%s/%s %s %s restarts=%d", pods[i].Name, s.Name, s.ContainerID, started, s.RestartCount))
		}
	}
	return out
}

// AwaitNode waits until a Node's Ready condition is true, or is not.
func (c *Cluster) AwaitNode(ctx context.Context, name string, ready bool) error {
	what := "is not Ready"
	if ready {
		what = "is Ready"
	}
	return Await(ctx, "node "+name+" "+what, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		var node corev1.Node
		if err := c.API.Get(ctx, NodesKind, "", name, &node); err != nil {
			return err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type != corev1.NodeReady {
				continue
			}
			if (condition.Status == corev1.ConditionTrue) == ready {
				return nil
			}
			return fmt.Errorf("it is %s: %s: %s", condition.Status, condition.Reason, condition.Message)
		}
		return errors.New("it has no Ready condition")
	})
}

// NewNamespace creates a namespace.
func (c *Cluster) NewNamespace(ctx context.Context, name string) error {
	return c.API.Create(ctx, Namespaces, &corev1.Namespace{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: name},
	})
}

// NodePort is the node port of a Service's first port.
func (c *Cluster) NodePort(ctx context.Context, namespace, service string) (int32, error) {
	var s corev1.Service
	if err := c.API.Get(ctx, Services, namespace, service, &s); err != nil {
		return 0, err
	}
	if len(s.Spec.Ports) == 0 || s.Spec.Ports[0].NodePort == 0 {
		return 0, fmt.Errorf("service %s/%s has no node port", namespace, service)
	}
	return s.Spec.Ports[0].NodePort, nil
}
