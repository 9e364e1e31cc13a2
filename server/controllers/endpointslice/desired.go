package endpointslice

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers/podutil"
)

// maxEndpoints is how many endpoints one slice holds, as in Kubernetes.
const maxEndpoints = 100

// group is the pods in which the Service's ports come to the same numbers.
type group struct {
	key   string // the ports' JSON
	ports []discoveryv1.EndpointPort
	eps   []discoveryv1.Endpoint
}

// desired returns the slices that the Service should have. An endpoint stays in the slice that it is in, so that a pod
// that comes or goes changes one slice. A Service without endpoints has one empty slice, which says just that.
func desired(v fsm.View, s *corev1.Service, present map[string]*discoveryv1.EndpointSlice) []*discoveryv1.EndpointSlice {
	if len(s.Spec.Selector) == 0 || s.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	var out []*discoveryv1.EndpointSlice
	for _, g := range groups(v, s) {
		out = append(out, g.pack(s, present)...)
	}
	return out
}

func groups(v fsm.View, s *corev1.Service) []*group {
	byKey := map[string]*group{}
	for o := range v.List("pods", s.Namespace) {
		pod := o.Value.(*corev1.Pod)
		if !selects(s, pod.Labels) || pod.Status.PodIP == "" || podutil.Ended(pod) {
			continue
		}
		ports := resolve(s, pod)
		data, err := json.Marshal(ports)
		if err != nil {
			continue // numbers and names: cannot fail
		}
		g, ok := byKey[string(data)]
		if !ok {
			g = &group{key: string(data), ports: ports}
			byKey[g.key] = g
		}
		g.eps = append(g.eps, endpoint(s, pod))
	}
	if len(byKey) == 0 {
		return []*group{{}}
	}
	return slices.SortedFunc(maps.Values(byKey), func(a, b *group) int { return strings.Compare(a.key, b.key) })
}

// pack puts the endpoints into slices: into those that hold them, then into the room that these have, then into new
// ones.
func (g *group) pack(s *corev1.Service, present map[string]*discoveryv1.EndpointSlice) []*discoveryv1.EndpointSlice {
	left := map[string]discoveryv1.Endpoint{}
	for _, e := range g.eps {
		left[string(e.TargetRef.UID)] = e
	}
	var out []*discoveryv1.EndpointSlice
	for n := 0; len(out) <= len(g.eps)/maxEndpoints+len(present); n++ {
		next := newSlice(s, g.ports, g.key, n)
		if have := present[next.Name]; have != nil {
			next.Endpoints = g.kept(have, left)
		}
		out = append(out, next)
	}
	rest := slices.DeleteFunc(slices.Clone(g.eps), func(e discoveryv1.Endpoint) bool {
		_, waits := left[string(e.TargetRef.UID)]
		return !waits
	})
	for _, slice := range out {
		n := min(len(rest), maxEndpoints-len(slice.Endpoints))
		slice.Endpoints, rest = append(slice.Endpoints, rest[:n]...), rest[n:]
	}
	out = slices.DeleteFunc(out, func(slice *discoveryv1.EndpointSlice) bool { return len(slice.Endpoints) == 0 })
	if len(out) == 0 {
		out = append(out, newSlice(s, nil, g.key, 0))
	}
	return out
}

// kept are the endpoints that a slice holds and goes on to hold, as they are now. They are taken out of left.
func (g *group) kept(slice *discoveryv1.EndpointSlice, left map[string]discoveryv1.Endpoint) []discoveryv1.Endpoint {
	var kept []discoveryv1.Endpoint
	for _, e := range slice.Endpoints {
		if e.TargetRef == nil {
			continue
		}
		if now, ok := left[string(e.TargetRef.UID)]; ok {
			kept = append(kept, now)
			delete(left, string(e.TargetRef.UID))
		}
	}
	return kept
}

// resolve turns the Service's ports into the numbers that they have in the pod.
func resolve(s *corev1.Service, pod *corev1.Pod) []discoveryv1.EndpointPort {
	var out []discoveryv1.EndpointPort
	for _, p := range s.Spec.Ports {
		number, ok := target(p, pod)
		if !ok {
			continue
		}
		name, protocol := p.Name, p.Protocol
		out = append(out, discoveryv1.EndpointPort{Name: &name, Protocol: &protocol, Port: &number, AppProtocol: p.AppProtocol})
	}
	return out
}

func target(p corev1.ServicePort, pod *corev1.Pod) (int32, bool) {
	if p.TargetPort.Type == intstr.Int {
		if p.TargetPort.IntVal == 0 {
			return p.Port, true
		}
		return p.TargetPort.IntVal, true
	}
	sidecars := slices.DeleteFunc(slices.Clone(pod.Spec.InitContainers), func(c corev1.Container) bool {
		return c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways
	})
	for _, c := range slices.Concat(pod.Spec.Containers, sidecars) {
		for _, cp := range c.Ports {
			if cp.Name == p.TargetPort.StrVal && cp.Protocol == p.Protocol {
				return cp.ContainerPort, true
			}
		}
	}
	return 0, false
}

func endpoint(s *corev1.Service, pod *corev1.Pod) discoveryv1.Endpoint {
	serving, terminating := podutil.Ready(pod), pod.DeletionTimestamp != nil
	ready := s.Spec.PublishNotReadyAddresses || (serving && !terminating)
	e := discoveryv1.Endpoint{
		Addresses:  []string{pod.Status.PodIP},
		Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
	}
	if pod.Spec.NodeName != "" {
		e.NodeName = &pod.Spec.NodeName
	}
	if pod.Spec.Hostname != "" && pod.Spec.Subdomain == s.Name {
		e.Hostname = &pod.Spec.Hostname
	}
	return e
}

// newSlice makes the n-th slice of the group of key, without endpoints yet.
func newSlice(s *corev1.Service, ports []discoveryv1.EndpointPort, key string, n int) *discoveryv1.EndpointSlice {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s %s %d", s.UID, key, n)
	l := maps.Clone(s.Labels)
	if l == nil {
		l = map[string]string{}
	}
	l[discoveryv1.LabelServiceName], l[discoveryv1.LabelManagedBy] = s.Name, managedBy
	if s.Spec.ClusterIP == corev1.ClusterIPNone {
		l[corev1.IsHeadlessService] = ""
	}
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("%s-%08x", s.Name, h.Sum32()), GenerateName: s.Name + "-", Namespace: s.Namespace,
			Labels: l, OwnerReferences: []metav1.OwnerReference{owner(s)},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       ports,
	}
}
