package kinds

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

func validateService(obj fsm.Value) field.ErrorList {
	s, path := &obj.(*corev1.Service).Spec, field.NewPath("spec")
	headless := s.ClusterIP == corev1.ClusterIPNone
	var errs field.ErrorList
	if len(s.Ports) == 0 && !headless && s.Type != corev1.ServiceTypeExternalName {
		errs = append(errs, field.Required(path.Child("ports"), ""))
	}
	errs = append(errs, oneOf(path.Child("type"), s.Type, corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName,
		corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort)...)
	if headless && hasNodePorts(s) {
		errs = append(errs, field.Invalid(path.Child("clusterIPs").Index(0), corev1.ClusterIPNone,
			fmt.Sprintf("may not be set to 'None' for %s services", s.Type)))
	}
	errs = append(errs, validateExternalName(s, path)...)
	errs = append(errs, validateServicePorts(s, path.Child("ports"))...)
	errs = append(errs, metav1validation.ValidateLabels(s.Selector, path.Child("selector"))...)
	errs = append(errs, validateSessionAffinity(s, path)...)
	errs = append(errs, validateClusterIPs(s, path)...)
	for i, ip := range s.ExternalIPs {
		errs = append(errs, validateEndpointIP(ip, path.Child("externalIPs").Index(i))...)
	}
	return append(errs, validateTraffic(s, path)...)
}

func validateExternalName(s *corev1.ServiceSpec, path *field.Path) field.ErrorList {
	if s.Type != corev1.ServiceTypeExternalName {
		return nil
	}
	var errs field.ErrorList
	if s.ClusterIP != "" || len(s.ClusterIPs) > 0 {
		errs = append(errs, field.Forbidden(path.Child("clusterIPs"), "may not be set for ExternalName services"))
	}
	name := strings.TrimSuffix(s.ExternalName, ".")
	if name == "" {
		return append(errs, field.Required(path.Child("externalName"), ""))
	}
	return append(errs, invalid(path.Child("externalName"), name, validation.IsDNS1123Subdomain(name))...)
}

func validateServicePorts(s *corev1.ServiceSpec, path *field.Path) field.ErrorList {
	type key struct {
		protocol corev1.Protocol
		port     int32
	}
	var errs field.ErrorList
	names, ports, nodePorts := sets.New[string](), sets.New[key](), sets.New[key]()
	for i, port := range s.Ports {
		at := path.Index(i)
		errs = append(errs, validateServicePort(s, port, at)...)
		if port.Name == "" && len(s.Ports) > 1 {
			errs = append(errs, field.Required(at.Child("name"), ""))
		} else if names.Has(port.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), port.Name))
		}
		names.Insert(port.Name)
		this := key{port.Protocol, port.Port}
		if ports.Has(this) {
			errs = append(errs, field.Duplicate(at, corev1.ServicePort{Protocol: port.Protocol, Port: port.Port}))
		}
		ports.Insert(this)
		if port.NodePort == 0 {
			continue
		}
		onNode := key{port.Protocol, port.NodePort}
		if nodePorts.Has(onNode) {
			errs = append(errs, field.Duplicate(at.Child("nodePort"), port.NodePort))
		}
		nodePorts.Insert(onNode)
	}
	return errs
}

func validateServicePort(s *corev1.ServiceSpec, port corev1.ServicePort, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if port.Name != "" {
		errs = append(errs, invalid(path.Child("name"), port.Name, validation.IsDNS1123Label(port.Name))...)
	}
	errs = append(errs, invalid(path.Child("port"), port.Port, validation.IsValidPortNum(int(port.Port)))...)
	if port.Protocol == "" {
		errs = append(errs, field.Required(path.Child("protocol"), ""))
	} else {
		errs = append(errs, oneOf(path.Child("protocol"), port.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
	}
	target := path.Child("targetPort")
	if port.TargetPort.Type == intstr.Int {
		errs = append(errs, invalid(target, port.TargetPort, validation.IsValidPortNum(port.TargetPort.IntValue()))...)
	} else {
		errs = append(errs, invalid(target, port.TargetPort, validation.IsValidPortName(port.TargetPort.StrVal))...)
	}
	if port.AppProtocol != nil {
		errs = append(errs, invalid(path.Child("appProtocol"), *port.AppProtocol, validation.IsQualifiedName(*port.AppProtocol))...)
	}
	if port.NodePort == 0 {
		return errs
	}
	if !hasNodePorts(s) {
		return append(errs, field.Forbidden(path.Child("nodePort"), fmt.Sprintf("may not be used when `type` is '%s'", s.Type)))
	}
	return append(errs, invalid(path.Child("nodePort"), port.NodePort, validation.IsValidPortNum(int(port.NodePort)))...)
}

func validateSessionAffinity(s *corev1.ServiceSpec, path *field.Path) field.ErrorList {
	if s.SessionAffinity == "" {
		return field.ErrorList{field.Required(path.Child("sessionAffinity"), "")}
	}
	errs := oneOf(path.Child("sessionAffinity"), s.SessionAffinity, corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	config := s.SessionAffinityConfig
	if s.SessionAffinity != corev1.ServiceAffinityClientIP || config == nil || config.ClientIP == nil || config.ClientIP.TimeoutSeconds == nil {
		return errs
	}
	const longest = 24 * 60 * 60
	if seconds := *config.ClientIP.TimeoutSeconds; seconds <= 0 || seconds > longest {
		errs = append(errs, field.Invalid(path.Child("sessionAffinityConfig", "clientIP", "timeoutSeconds"), seconds,
			fmt.Sprintf("must be greater than 0 and less than %d", longest)))
	}
	return errs
}

func validateClusterIPs(s *corev1.ServiceSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	families, ips := path.Child("ipFamilies"), path.Child("clusterIPs")
	for i, family := range s.IPFamilies {
		errs = append(errs, oneOf(families.Index(i), family, corev1.IPv4Protocol, corev1.IPv6Protocol)...)
	}
	if len(s.IPFamilies) > 2 || len(s.IPFamilies) == 2 && s.IPFamilies[0] == s.IPFamilies[1] {
		errs = append(errs, field.Invalid(families, s.IPFamilies, "may only hold up to 2 different values"))
	}
	if s.IPFamilyPolicy != nil {
		errs = append(errs, oneOf(path.Child("ipFamilyPolicy"), *s.IPFamilyPolicy, corev1.IPFamilyPolicyPreferDualStack,
			corev1.IPFamilyPolicyRequireDualStack, corev1.IPFamilyPolicySingleStack)...)
	}
	if len(s.ClusterIPs) > 0 && s.ClusterIP != s.ClusterIPs[0] {
		errs = append(errs, field.Invalid(ips, s.ClusterIPs, "first value must match `clusterIP`"))
	}
	if len(s.ClusterIPs) > 2 {
		errs = append(errs, field.Invalid(ips, s.ClusterIPs, "may only hold up to 2 values"))
	}
	for i, ip := range s.ClusterIPs {
		at := ips.Index(i)
		if ip == corev1.ClusterIPNone {
			if len(s.ClusterIPs) > 1 {
				errs = append(errs, field.Invalid(ips, s.ClusterIPs, "'None' must be the first and only value"))
			}
			continue
		}
		bad := validation.IsValidIP(at, ip)
		errs = append(errs, bad...)
		if len(bad) == 0 && i < len(s.IPFamilies) && familiesOf([]string{ip})[0] != s.IPFamilies[i] {
			errs = append(errs, field.Invalid(at, ip, fmt.Sprintf("expected an %s value as indicated by `ipFamilies[%d]`", s.IPFamilies[i], i)))
		}
	}
	return errs
}

func validateTraffic(s *corev1.ServiceSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("externalTrafficPolicy")
	switch {
	case !externallyAccessible(s):
		if s.ExternalTrafficPolicy != "" {
			errs = append(errs, field.Invalid(at, s.ExternalTrafficPolicy, "may only be set for externally-accessible services"))
		}
	case s.ExternalTrafficPolicy == "":
		errs = append(errs, field.Required(at, ""))
	default:
		errs = append(errs, oneOf(at, s.ExternalTrafficPolicy,
			corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)...)
	}
	if s.InternalTrafficPolicy != nil {
		errs = append(errs, oneOf(path.Child("internalTrafficPolicy"), *s.InternalTrafficPolicy,
			corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)...)
	}
	for i, cidr := range s.LoadBalancerSourceRanges {
		errs = append(errs, validation.IsValidCIDR(path.Child("loadBalancerSourceRanges").Index(i), strings.TrimSpace(cidr))...)
	}
	return errs
}

// validateEndpointIP keeps traffic from being sent to a node's own loopback or its link's metadata service
// (CVE-2021-25737).
func validateEndpointIP(text string, path *field.Path) field.ErrorList {
	if errs := validation.IsValidIP(path, text); len(errs) > 0 {
		return errs
	}
	ip := netip.MustParseAddr(text).Unmap()
	switch {
	case ip.IsUnspecified():
		return field.ErrorList{field.Invalid(path, text, "may not be unspecified (0.0.0.0 or ::)")}
	case ip.IsLoopback():
		return field.ErrorList{field.Invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)")}
	case ip.IsLinkLocalUnicast():
		return field.ErrorList{field.Invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")}
	case ip.IsLinkLocalMulticast():
		return field.ErrorList{field.Invalid(path, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")}
	}
	return nil
}

func validateServiceUpdate(obj, before fsm.Value) field.ErrorList {
	s, old := &obj.(*corev1.Service).Spec, &before.(*corev1.Service).Spec
	if s.Type == corev1.ServiceTypeExternalName || old.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	// A service that was waiting for its address may get it; whoever has one keeps it.
	if len(old.ClusterIPs) == 0 || slices.Equal(s.ClusterIPs, old.ClusterIPs) {
		return nil
	}
	path := field.NewPath("spec", "clusterIPs").Index(0)
	switch {
	case len(s.ClusterIPs) == 0:
		return field.ErrorList{field.Invalid(path, s.ClusterIPs, "primary clusterIP can not be unset")}
	case s.ClusterIPs[0] != old.ClusterIPs[0]:
		return field.ErrorList{field.Invalid(path, s.ClusterIPs, "may not change once set")}
	}
	return nil
}
