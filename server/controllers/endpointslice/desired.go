package endpointslice

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers/podutil"
)

// maxEndpoints is how many endpoints one slice holds, as in Kubernetes.
const maxEndpoints = 100

// desired returns the slices that the Service should have, with stable names.
func desired(v fsm.View, s *corev1.Service) []*discoveryv1.EndpointSlice {
	if len(s.Spec.Selector) == 0 || s.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	groups := map[string][]discoveryv1.Endpoint{} // by the ports' JSON
	ports := map[string][]discoveryv1.EndpointPort{}
	for o := range v.List("pods", s.Namespace) {
		pod := o.Value.(*corev1.Pod)
		if !selects(s, pod.Labels) || pod.Status.PodIP == "" || podutil.Ended(pod) {
			continue
		}
		resolved := resolve(s, pod)
		data, err := json.Marshal(resolved)
		if err != nil {
			continue // numbers and names: cannot fail
		}
		ports[string(data)] = resolved
		groups[string(data)] = append(groups[string(data)], endpoint(s, pod))
	}
	var out []*discoveryv1.EndpointSlice
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		n := 0
		for chunk := range slices.Chunk(groups[key], maxEndpoints) {
			out = append(out, slice(s, ports[key], key, n, chunk))
			n++
		}
	}
	return out
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

func slice(s *corev1.Service, ports []discoveryv1.EndpointPort, key string, n int, eps []discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
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
		Endpoints:   eps,
		Ports:       ports,
	}
}
