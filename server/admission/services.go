package admission

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

var services = corev1.Resource("services")

// Addresses that are never handed out unasked, by their number in the service range plus one: the API's own Service
// and the cluster's DNS.
const (
	kubernetesAddress = 1
	dnsAddress        = 10
)

// ServiceAllocator gives Services their addresses and node ports. A value is free if neither the store nor an attempt
// in flight has it; both are looked at under one lock, after everything committed by earlier leaders is visible, so
// that no two Services ever get the same one.
type ServiceAllocator struct {
	addresses addressRange
	ports     PortRange
	store     Viewer
	lin       Linearizer
	res       *reservations
}

// NewServiceAllocator allocates from the addresses of cidr and the node ports of ports.
func NewServiceAllocator(cidr netip.Prefix, ports PortRange, store Viewer, lin Linearizer) *ServiceAllocator {
	return &ServiceAllocator{newAddressRange(cidr), ports, store, lin, newReservations()}
}

// Step is the allocator's admission step.
func (s *ServiceAllocator) Step(ctx context.Context, a *Attributes) error {
	svc, ok := a.Object.(*corev1.Service)
	if !ok || a.Operation == Delete || a.Subresource != "" {
		return nil
	}
	old, _ := a.Old.(*corev1.Service)
	if !s.needs(svc, old) {
		return nil
	}
	if err := s.lin.Linearize(ctx); err != nil {
		return err
	}
	s.res.mu.Lock()
	defer s.res.mu.Unlock()
	t := &allocation{ServiceAllocator: s, svc: svc, attempt: s.res.begin(), old: map[string]bool{}}
	t.used = usedBy(s.store.View(), a.Namespace, a.Name, t.old)
	err := errors.Join(t.address(), t.nodePorts())
	a.OnDecided(func(o Outcome) { s.res.settle(t.attempt, t.values, o) })
	if err != nil {
		// OnDecided releases what was reserved before the failure; the API calls it for refused attempts too.
		return t.refusal(err)
	}
	return nil
}

// needs reports whether svc lacks or asks for a value that old does not have.
func (s *ServiceAllocator) needs(svc, old *corev1.Service) bool {
	if old == nil {
		return hasAddress(svc) || hasNodePorts(svc)
	}
	if hasAddress(svc) && svc.Spec.ClusterIP != old.Spec.ClusterIP {
		return true
	}
	had := map[int32]bool{0: false}
	for _, p := range old.Spec.Ports {
		had[p.NodePort] = p.NodePort != 0
	}
	for _, p := range svc.Spec.Ports {
		if hasNodePorts(svc) && !had[p.NodePort] {
			return true
		}
	}
	return false
}

func hasAddress(svc *corev1.Service) bool {
	return svc.Spec.Type != corev1.ServiceTypeExternalName && svc.Spec.ClusterIP != corev1.ClusterIPNone
}

func hasNodePorts(svc *corev1.Service) bool {
	switch svc.Spec.Type {
	case corev1.ServiceTypeNodePort:
		return true
	case corev1.ServiceTypeLoadBalancer:
		return svc.Spec.AllocateLoadBalancerNodePorts == nil || *svc.Spec.AllocateLoadBalancerNodePorts
	}
	return false
}

// allocation is one Service's turn; the reservations' lock is held throughout.
type allocation struct {
	*ServiceAllocator
	svc     *corev1.Service
	attempt uint64
	used    map[string]bool
	old     map[string]bool // what the stored Service has already
	values  []string
}

func addressValue(ip string) string { return "address/" + ip }
func portValue(p int32) string      { return fmt.Sprintf("port/%d", p) }

// usedBy collects the values that Services have: those of namespace/name go to own, all others are returned.
func usedBy(v fsm.View, namespace, name string, own map[string]bool) map[string]bool {
	used := map[string]bool{}
	for o := range v.List(services.String(), "") {
		svc, ok := o.Value.(*corev1.Service)
		if !ok {
			continue
		}
		into := used
		if o.Namespace == namespace && o.Name == name {
			into = own
		}
		into[addressValue(svc.Spec.ClusterIP)] = true
		for _, p := range svc.Spec.Ports {
			into[portValue(p.NodePort)] = true
		}
	}
	return used
}

// take reserves value if it is free.
func (t *allocation) take(value string) bool {
	if t.used[value] || t.res.held(value, t.attempt) {
		return false
	}
	if !t.old[value] {
		t.res.taken[value] = t.attempt
		t.values = append(t.values, value)
	}
	return true
}

func (t *allocation) address() error {
	if !hasAddress(t.svc) {
		return nil
	}
	if ip := t.svc.Spec.ClusterIP; ip != "" {
		if err := t.requested(ip); err != nil {
			return field.Invalid(field.NewPath("spec", "clusterIPs"), []string{ip}, err.Error())
		}
	} else if !scan(t.addresses.size, t.freeAddress) {
		return errors.New("failed to allocate a serviceIP: range is full")
	}
	t.svc.Spec.ClusterIPs = []string{t.svc.Spec.ClusterIP}
	return nil
}

func (t *allocation) freeAddress(i uint64) bool {
	if i+1 == kubernetesAddress || i+1 == dnsAddress {
		return false
	}
	ip := t.addresses.at(i).String()
	if !t.take(addressValue(ip)) {
		return false
	}
	t.svc.Spec.ClusterIP = ip
	return true
}

func (t *allocation) requested(ip string) error {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return fmt.Errorf("failed to allocate IP %s: it is not a valid IP address", ip)
	}
	if !t.addresses.contains(a) {
		return fmt.Errorf("failed to allocate IP %s: the provided IP (%s) is not in the valid range. "+
			"The range of valid IPs is %s", ip, ip, t.addresses.prefix)
	}
	kubernetes := t.svc.Namespace == metav1.NamespaceDefault && t.svc.Name == "kubernetes"
	reserved := a == t.addresses.at(kubernetesAddress-1) && !kubernetes
	if reserved || !t.take(addressValue(ip)) {
		return fmt.Errorf("failed to allocate IP %s: provided IP is already allocated", ip)
	}
	return nil
}

func (t *allocation) nodePorts() error {
	if !hasNodePorts(t.svc) {
		return nil
	}
	ports := field.NewPath("spec", "ports")
	for i := range t.svc.Spec.Ports {
		p := &t.svc.Spec.Ports[i]
		if p.NodePort == 0 {
			if p.NodePort = t.shared(i); p.NodePort == 0 && !t.anyPort(p) {
				return errors.New("failed to allocate a nodePort: range is full")
			}
			continue
		}
		at := ports.Index(i).Child("nodePort")
		if !t.ports.contains(p.NodePort) && !t.old[portValue(p.NodePort)] {
			return field.Invalid(at, p.NodePort, fmt.Sprintf("provided port is not in the valid range. "+
				"The range of valid ports is %d-%d", t.ports.First, t.ports.Last))
		}
		if !t.take(portValue(p.NodePort)) {
			return field.Invalid(at, p.NodePort, "provided port is already allocated")
		}
	}
	return nil
}

// shared returns the node port that port i has in another protocol of the same Service, or zero.
func (t *allocation) shared(i int) int32 {
	ports := t.svc.Spec.Ports
	for j := range i {
		if ports[j].Port == ports[i].Port && ports[j].Protocol != ports[i].Protocol {
			return ports[j].NodePort
		}
	}
	return 0
}

func (t *allocation) anyPort(p *corev1.ServicePort) bool {
	return scan(uint64(t.ports.Last-t.ports.First+1), func(i uint64) bool {
		port := t.ports.First + int32(i)
		if t.asked(port) || !t.take(portValue(port)) {
			return false
		}
		p.NodePort = port
		return true
	})
}

// asked reports whether a later port of the same Service asks for this node port.
func (t *allocation) asked(port int32) bool {
	for _, p := range t.svc.Spec.Ports {
		if p.NodePort == port {
			return true
		}
	}
	return false
}

func (t *allocation) refusal(err error) error {
	var list field.ErrorList
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			var fe *field.Error
			if errors.As(e, &fe) {
				list = append(list, fe)
			}
		}
	}
	if len(list) == 0 {
		return apierrors.NewInternalError(err)
	}
	return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), t.svc.Name, list)
}
