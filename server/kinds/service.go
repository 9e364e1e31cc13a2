package kinds

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

// service leaves the choice of cluster IPs and node ports to the API's allocator, which fills in those that are empty
// after Prepare and before Validate; Validate accepts them empty.
func service() *Kind {
	gvk := corev1.SchemeGroupVersion.WithKind("Service")
	newBody := func() fsm.Value { return &corev1.Service{} }
	return &Kind{
		GVK:      gvk,
		Resource: "services", Singular: "service", ShortNames: []string{"svc"}, Categories: []string{"all"},
		Namespaced:     true,
		New:            newBody,
		NewList:        func() runtime.Object { return &corev1.ServiceList{} },
		Default:        defaultService,
		Prepare:        prepareService,
		Validate:       validateService,
		ValidateUpdate: validateServiceUpdate,
		ValidateName:   apivalidation.NameIsDNS1035Label,
		Subresources: map[string]Subresource{
			"status": statusOf(gvk, newBody, func(obj, body *corev1.Service) field.ErrorList {
				obj.Status = body.Status
				return nil
			}),
		},
		Fields: func(obj fsm.Value) fields.Set {
			s := obj.(*corev1.Service)
			return fields.Set{"spec.clusterIP": s.Spec.ClusterIP, "spec.type": string(s.Spec.Type)}
		},
		Columns: serviceColumns(),
		Cells:   serviceCells,
	}
}

func defaultService(obj fsm.Value) {
	spec := &obj.(*corev1.Service).Spec
	setDefault(&spec.Type, corev1.ServiceTypeClusterIP)
	setDefault(&spec.SessionAffinity, corev1.ServiceAffinityNone)
	switch spec.SessionAffinity {
	case corev1.ServiceAffinityNone:
		spec.SessionAffinityConfig = nil
	case corev1.ServiceAffinityClientIP:
		setPointer(&spec.SessionAffinityConfig, corev1.SessionAffinityConfig{})
		setPointer(&spec.SessionAffinityConfig.ClientIP, corev1.ClientIPConfig{})
		setPointer(&spec.SessionAffinityConfig.ClientIP.TimeoutSeconds, corev1.DefaultClientIPServiceAffinitySeconds)
	}
	for i := range spec.Ports {
		port := &spec.Ports[i]
		setDefault(&port.Protocol, corev1.ProtocolTCP)
		if port.TargetPort == intstr.FromInt32(0) || port.TargetPort == intstr.FromString("") {
			port.TargetPort = intstr.FromInt32(port.Port)
		}
	}
	if spec.Type == corev1.ServiceTypeExternalName {
		return
	}
	if externallyAccessible(spec) {
		setDefault(&spec.ExternalTrafficPolicy, corev1.ServiceExternalTrafficPolicyCluster)
	}
	setPointer(&spec.InternalTrafficPolicy, corev1.ServiceInternalTrafficPolicyCluster)
	if spec.Type == corev1.ServiceTypeLoadBalancer {
		setPointer(&spec.AllocateLoadBalancerNodePorts, true)
	}
	if spec.ClusterIP != "" && len(spec.ClusterIPs) == 0 {
		spec.ClusterIPs = []string{spec.ClusterIP}
	}
	setPointer(&spec.IPFamilyPolicy, corev1.IPFamilyPolicySingleStack)
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = familiesOf(spec.ClusterIPs)
	}
}

// familiesOf are the families of the addresses that a service asks for; IPv4 when it asks for none.
func familiesOf(addresses []string) []corev1.IPFamily {
	var families []corev1.IPFamily
	for _, text := range addresses {
		address, err := netip.ParseAddr(text)
		switch {
		case err != nil:
		case address.Is4():
			families = append(families, corev1.IPv4Protocol)
		default:
			families = append(families, corev1.IPv6Protocol)
		}
	}
	if len(families) == 0 {
		families = []corev1.IPFamily{corev1.IPv4Protocol}
	}
	return families
}

func externallyAccessible(spec *corev1.ServiceSpec) bool {
	return hasNodePorts(spec) || spec.Type == corev1.ServiceTypeClusterIP && len(spec.ExternalIPs) > 0
}

func hasNodePorts(spec *corev1.ServiceSpec) bool {
	return spec.Type == corev1.ServiceTypeNodePort || spec.Type == corev1.ServiceTypeLoadBalancer
}

func prepareService(obj, before fsm.Value) {
	s := obj.(*corev1.Service)
	if before == nil {
		s.Status = corev1.ServiceStatus{}
		return
	}
	old := before.(*corev1.Service)
	s.Status = old.Status
	keepAllocated(&s.Spec, &old.Spec)
	dropAllocated(&s.Spec, &old.Spec)
	if s.Spec.ClusterIP != old.Spec.ClusterIP && slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs) {
		// The client changed the one address without the list, which it may not know.
		s.Spec.ClusterIPs = nil
		if s.Spec.ClusterIP != "" {
			s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
		}
	}
}

// keepAllocated copies what was allocated to the old service when the client's replacement leaves it out: manifests
// do not have it.
func keepAllocated(spec, old *corev1.ServiceSpec) {
	if spec.Type != corev1.ServiceTypeExternalName && old.Type != corev1.ServiceTypeExternalName &&
		spec.ClusterIP == "" && len(spec.ClusterIPs) == 0 {
		spec.ClusterIP, spec.ClusterIPs = old.ClusterIP, old.ClusterIPs
		spec.IPFamilies = old.IPFamilies
	}
	if !hasNodePorts(spec) || !hasNodePorts(old) {
		return
	}
	type target struct {
		protocol corev1.Protocol
		port     int32
	}
	allocated := map[target]int32{}
	for _, port := range old.Ports {
		allocated[target{port.Protocol, port.Port}] = port.NodePort
	}
	used := map[int32]bool{}
	for _, port := range spec.Ports {
		used[port.NodePort] = true
	}
	for i := range spec.Ports {
		port := &spec.Ports[i]
		if n := allocated[target{port.Protocol, port.Port}]; port.NodePort == 0 && !used[n] {
			port.NodePort = n
		}
	}
	setDefault(&spec.HealthCheckNodePort, old.HealthCheckNodePort)
}

// dropAllocated clears what the service had and its new type does not have, unless the client changed it too: that
// would be its mistake, and Validate reports it.
func dropAllocated(spec, old *corev1.ServiceSpec) {
	if spec.Type == corev1.ServiceTypeExternalName && old.Type != corev1.ServiceTypeExternalName &&
		spec.ClusterIP == old.ClusterIP && slices.Equal(spec.ClusterIPs, old.ClusterIPs) {
		spec.ClusterIP, spec.ClusterIPs, spec.IPFamilies, spec.IPFamilyPolicy = "", nil, nil, nil
		spec.InternalTrafficPolicy = nil
	}
	if hasNodePorts(old) && !hasNodePorts(spec) && len(spec.Ports) == len(old.Ports) {
		for i := range spec.Ports {
			if spec.Ports[i].NodePort == old.Ports[i].NodePort {
				spec.Ports[i].NodePort = 0
			}
		}
	}
	if !externallyAccessible(spec) && spec.ExternalTrafficPolicy == old.ExternalTrafficPolicy {
		spec.ExternalTrafficPolicy = ""
	}
	if spec.Type != corev1.ServiceTypeLoadBalancer && old.Type == corev1.ServiceTypeLoadBalancer {
		spec.AllocateLoadBalancerNodePorts, spec.HealthCheckNodePort = nil, 0
	}
}
