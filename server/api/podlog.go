package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/storage"
)

// defaultContainerAnnotation names the container that kubectl means when none is named.
const defaultContainerAnnotation = "kubectl.kubernetes.io/default-container"

// logQuery are the parameters of pods/log that the agent understands.
var logQuery = []string{"follow", "tailLines", "sinceSeconds", "sinceTime", "timestamps", "previous", "limitBytes", "stream"}

// podLogs passes on the logs of containers from the agents of their nodes.
type podLogs struct {
	store   *storage.Store
	agents  AgentDialer // nil refuses
	out     *responder
	timeout requestTimeout // of the way to the pod and its node; the log itself may take any time
}

// serve answers a request for a subresource that streams from the pod's node: log is the only one.
func (l *podLogs) serve(w http.ResponseWriter, r *request) {
	if r.info.Subresource != "log" || r.kind.GVK.Kind != "Pod" {
		l.out.fail(w, r.http, errNoRoute())
		return
	}
	if r.info.Verb != "get" {
		l.out.fail(w, r.http, errMethod(r.resource(), r.info.Verb))
		return
	}
	if err := l.pass(w, r); err != nil {
		l.out.fail(w, r.http, err)
	}
}

// pass copies what the node's agent sends. An error means that nothing was sent to the client yet.
func (l *podLogs) pass(w http.ResponseWriter, r *request) error {
	pod, node, err := l.podAndNode(r)
	if err != nil {
		return err
	}
	previous := isTrue(r.query.Get("previous"))
	container, err := logContainer(pod, r.query.Get("container"))
	if err != nil {
		return err
	}
	if err := hasStarted(pod, container, previous); err != nil {
		return err
	}
	if l.agents == nil {
		return apierrors.NewServiceUnavailable("this server cannot reach agents")
	}
	base, transport, err := l.agents.Agent(node)
	if err != nil {
		return apierrors.NewServiceUnavailable(fmt.Sprintf("node %s cannot be reached: %v", node.Name, err))
	}
	u := base.JoinPath("logs", pod.Namespace, pod.Name, container)
	u.RawQuery = agentQuery(r.query, pod)
	out, err := http.NewRequestWithContext(r.http.Context(), http.MethodGet, u.String(), nil)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	res, err := transport.RoundTrip(out) // no client: redirects are not followed
	if err != nil {
		return apierrors.NewServiceUnavailable(fmt.Sprintf("node %s cannot be reached: %v", node.Name, err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return agentError(res, node.Name)
	}
	stream(w, res.Body)
	return nil
}

func (l *podLogs) podAndNode(r *request) (*corev1.Pod, *corev1.Node, error) {
	ctx, cancel := context.WithTimeout(r.http.Context(), time.Duration(l.timeout))
	defer cancel()
	if err := l.store.Linearize(ctx); err != nil {
		return nil, nil, err
	}
	v := l.store.View()
	o, ok := v.Get(r.key())
	if !ok {
		return nil, nil, apierrors.NewNotFound(r.resource(), r.info.Name)
	}
	pod, ok := o.Value.(*corev1.Pod)
	if !ok {
		return nil, nil, errNoRoute()
	}
	if pod.Spec.NodeName == "" {
		return nil, nil, badRequest("pod %s does not have a host assigned", pod.Name)
	}
	n, ok := v.Get(fsm.Key{Resource: "nodes", Name: pod.Spec.NodeName})
	if !ok {
		return nil, nil, apierrors.NewNotFound(corev1.Resource("nodes"), pod.Spec.NodeName)
	}
	node, ok := n.Value.(*corev1.Node)
	if !ok {
		return nil, nil, apierrors.NewInternalError(errors.New("nodes are not registered as Node"))
	}
	return pod, node, nil
}

func agentQuery(q url.Values, pod *corev1.Pod) string {
	out := url.Values{"uid": {string(pod.UID)}}
	for _, k := range logQuery {
		if v := q.Get(k); v != "" {
			out.Set(k, v)
		}
	}
	return out.Encode()
}

// logContainer picks the container: the named one, the only one, or the pod's default one.
func logContainer(pod *corev1.Pod, name string) (string, error) {
	mine, initial := containerNames(pod.Spec.Containers), containerNames(pod.Spec.InitContainers)
	if name == "" {
		name = pod.Annotations[defaultContainerAnnotation]
	}
	if name == "" {
		if len(mine) == 1 {
			return mine[0], nil
		}
		msg := fmt.Sprintf("a container name must be specified for pod %s, choose one of: %s", pod.Name, mine)
		if len(initial) > 0 {
			msg += fmt.Sprintf(" or one of the init containers: %s", initial)
		}
		return "", badRequest("%s", msg)
	}
	for _, n := range append(mine, initial...) {
		if n == name {
			return name, nil
		}
	}
	return "", badRequest("container %s is not valid for pod %s", name, pod.Name)
}

func containerNames(containers []corev1.Container) []string {
	names := make([]string, len(containers))
	for i, c := range containers {
		names[i] = c.Name
	}
	return names
}

// hasStarted refuses, in Kubernetes' words, the logs of a container that has not written any.
func hasStarted(pod *corev1.Pod, container string, previous bool) error {
	statuses := append(append([]corev1.ContainerStatus{}, pod.Status.ContainerStatuses...), pod.Status.InitContainerStatuses...)
	for _, st := range statuses {
		if st.Name != container {
			continue
		}
		switch {
		case previous && st.LastTerminationState.Terminated == nil:
			return badRequest("previous terminated container %q in pod %q not found", container, pod.Name)
		case previous, st.State.Running != nil, st.State.Terminated != nil, st.LastTerminationState.Terminated != nil:
			return nil
		case st.State.Waiting != nil:
			return waiting(pod, container, st.State.Waiting.Reason)
		}
		return waiting(pod, container, "")
	}
	return waiting(pod, container, "ContainerCreating")
}

func waiting(pod *corev1.Pod, container, reason string) error {
	switch reason {
	case "ErrImagePull":
		reason = "image can't be pulled"
	case "ImagePullBackOff":
		reason = "trying and failing to pull image"
	case "":
		return badRequest("container %q in pod %q is not available", container, pod.Name)
	}
	return badRequest("container %q in pod %q is waiting to start: %s", container, pod.Name, reason)
}

// agentError keeps the kind of an agent's refusal; what is not the client's fault is the node's.
func agentError(res *http.Response, node string) error {
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4096)) // what can be read of it is enough
	msg := strings.TrimSpace(string(text))
	switch res.StatusCode {
	case http.StatusBadRequest:
		return badRequest("%s", msg)
	case http.StatusNotFound:
		return statusError(http.StatusNotFound, "NotFound", "%s", msg)
	}
	return apierrors.NewInternalError(fmt.Errorf("node %s answered %s: %s", node, res.Status, msg))
}

// stream copies until either side ends, and flushes at every read.
func stream(w http.ResponseWriter, from io.Reader) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Cache-Control", "no-cache, private")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	if control.Flush() != nil {
		return
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil || control.Flush() != nil {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				panic(http.ErrAbortHandler) // the client must not take a cut log for a whole one
			}
			return
		}
	}
}
