package admission_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/admission"
	"github.com/holt-project/holt/server/kinds"
)

// world is a store with an allocator over it.
type world struct {
	store *fsm.Store
	alloc *admission.ServiceAllocator
	kind  *kinds.Kind

	mu    sync.Mutex
	index uint64
}

type current struct{}

func (current) Linearize(context.Context) error { return nil }

func newWorld(cidr string, ports admission.PortRange) *world {
	r := kinds.Builtin()
	w := &world{store: fsm.New(r.Schema(), 0), kind: r.ByStore("services")}
	w.alloc = admission.NewServiceAllocator(netip.MustParsePrefix(cidr), ports, w.store, current{})
	return w
}

func (w *world) store1(op fsm.Op) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	data, err := fsm.Command{Ops: []fsm.Op{op}}.Encode()
	if err != nil {
		return err
	}
	w.index++
	res, err := w.store.Apply(w.index, data)
	if err != nil {
		return err
	}
	return res[0].Err
}

func service(name, ip string, nodePorts ...int32) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: ip}}
	for i, p := range nodePorts {
		s.Spec.Type = corev1.ServiceTypeNodePort
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Port: int32(80 + i), Protocol: corev1.ProtocolTCP, NodePort: p})
	}
	return s
}

// create runs the step and, if it passes, stores the service. outcome is told to the step.
func (w *world) create(s *corev1.Service, outcome admission.Outcome) error {
	a := &admission.Attributes{Operation: admission.Create, Kind: w.kind, Namespace: s.Namespace, Name: s.Name, Object: s, View: w.store.View()}
	err := w.alloc.Step(context.Background(), a)
	if err == nil && outcome == admission.Committed {
		var raw []byte
		if raw, err = w.kind.Encode(s); err == nil {
			err = w.store1(fsm.Op{Verb: fsm.Create, Resource: "services", Namespace: s.Namespace, Name: s.Name, Raw: raw})
		}
	}
	if err != nil {
		outcome = admission.Abandoned
	}
	a.Decide(outcome)
	return err
}

func TestConcurrentServicesGetDifferentValues(t *testing.T) {
	w := newWorld("10.0.0.0/25", admission.PortRange{First: 30000, Last: 30199})
	const n = 100
	var wg sync.WaitGroup
	made := make([]*corev1.Service, n)
	for i := range n {
		made[i] = service(fmt.Sprintf("s%d", i), "", 0, 0)
		wg.Go(func() {
			if err := w.create(made[i], admission.Committed); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	ips, ports := map[string]bool{}, map[int32]bool{}
	for _, s := range made {
		ips[s.Spec.ClusterIP] = true
		for _, p := range s.Spec.Ports {
			ports[p.NodePort] = true
		}
		if a := netip.MustParseAddr(s.Spec.ClusterIP); !netip.MustParsePrefix("10.0.0.0/25").Contains(a) || s.Spec.ClusterIPs[0] != s.Spec.ClusterIP {
			t.Errorf("%+v", s.Spec)
		}
	}
	if len(ips) != n || len(ports) != 2*n {
		t.Errorf("%d addresses and %d ports for %d services", len(ips), len(ports), n)
	}
	for _, ip := range []string{"10.0.0.0", "10.0.0.1", "10.0.0.10", "10.0.0.127"} {
		if ips[ip] {
			t.Errorf("%s was handed out", ip)
		}
	}
	if err := w.create(service("full", "", 0), admission.Committed); err == nil || !strings.Contains(err.Error(), "nodePort: range is full") {
		t.Errorf("a full range: %v", err)
	}
}

func TestRequestedValues(t *testing.T) {
	w := newWorld("10.0.0.0/24", admission.DefaultNodePorts)
	for _, tc := range []struct {
		s       *corev1.Service
		message string
	}{
		{service("a", "10.0.0.10"), ""}, // DNS asks for its own
		{service("b", "10.0.0.10"), `spec.clusterIPs: Invalid value: ["10.0.0.10"]: failed to allocate IP 10.0.0.10: provided IP is already allocated`},
		{service("c", "10.0.1.1"), "the provided IP (10.0.1.1) is not in the valid range. The range of valid IPs is 10.0.0.0/24"},
		{service("c", "10.0.0.255"), "not in the valid range"},
		{service("c", "x"), "not a valid IP address"},
		{service("c", "10.0.0.1"), "already allocated"},
		{service("kubernetes", "10.0.0.1"), ""},
		{service("d", "None"), ""},
		{service("e", "", 30080), ""},
		{service("f", "", 30080), "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"},
		{service("g", "", 80), "provided port is not in the valid range. The range of valid ports is 30000-32767"},
		{service("h", "10.0.0.10", 30080), "provided port is already allocated"},
	} {
		err := w.create(tc.s, admission.Committed)
		if (err == nil) != (tc.message == "") || (err != nil && (!strings.Contains(err.Error(), tc.message) || !apierrors.IsInvalid(err))) {
			t.Errorf("%s %s: %v", tc.s.Name, tc.s.Spec.ClusterIP, err)
		}
	}
	if err := w.create(service("i", "", 30081), admission.Committed); err != nil {
		t.Errorf("a refused service kept its port: %v", err)
	}
}

// A service that changes its type gets what it lacks, and keeps what it has.
func TestUpdateAllocates(t *testing.T) {
	w := newWorld("10.0.0.0/24", admission.DefaultNodePorts)
	old := service("a", "10.0.0.7", 30001)
	if err := w.create(old, admission.Committed); err != nil {
		t.Fatal(err)
	}
	s := service("a", "10.0.0.7", 30001, 0)
	a := &admission.Attributes{Operation: admission.Update, Kind: w.kind, Namespace: "default", Name: "a", Object: s, Old: old, View: w.store.View()}
	if err := w.alloc.Step(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	a.Decide(admission.Committed)
	if s.Spec.ClusterIP != "10.0.0.7" || s.Spec.Ports[0].NodePort != 30001 || s.Spec.Ports[1].NodePort == 0 || s.Spec.Ports[1].NodePort == 30001 {
		t.Errorf("%+v", s.Spec)
	}
}

// What may still come into force is not given away; a later commit settles it.
func TestUnknownOutcomesKeepTheirValues(t *testing.T) {
	w := newWorld("10.0.0.0/24", admission.DefaultNodePorts)
	if err := w.create(service("a", "10.0.0.7"), admission.Unknown); err != nil {
		t.Fatal(err)
	}
	if err := w.create(service("b", "10.0.0.7"), admission.Committed); err == nil {
		t.Fatal("an address in doubt was given away")
	}
	if err := w.create(service("c", ""), admission.Committed); err != nil {
		t.Fatal(err)
	}
	if err := w.create(service("d", "10.0.0.7"), admission.Committed); err != nil {
		t.Errorf("the doubt is settled: %v", err)
	}
}

// Whatever becomes of the attempts, no two stored services share a value.
func TestNoTwoServicesShareAValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld("10.0.0.0/28", admission.PortRange{First: 30000, Last: 30009})
		for i := range rapid.IntRange(1, 30).Draw(t, "n") {
			ip := rapid.SampledFrom([]string{"", "", "10.0.0.2", "10.0.0.3", "None"}).Draw(t, "ip")
			port := rapid.SampledFrom([]int32{0, 0, 30000, 30001}).Draw(t, "port")
			outcome := rapid.SampledFrom([]admission.Outcome{admission.Abandoned, admission.Committed, admission.Unknown}).Draw(t, "outcome")
			_ = w.create(service(fmt.Sprintf("s%d", i), ip, port), outcome) // refusals are part of the game
		}
		seen := map[string]string{}
		for o := range w.store.View().List("services", "") {
			s := o.Value.(*corev1.Service)
			for _, v := range []string{s.Spec.ClusterIP, fmt.Sprint(s.Spec.Ports[0].NodePort)} {
				if v != "None" && seen[v] != "" {
					t.Fatalf("%s and %s share %s", seen[v], s.Name, v)
				}
				seen[v] = s.Name
			}
		}
	})
}

func TestDefaultTolerations(t *testing.T) {
	forever := corev1.Toleration{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Tolerations: []corev1.Toleration{forever}}}
	a := &admission.Attributes{Operation: admission.Create, Object: pod}
	if err := admission.DefaultTolerations(5)(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	got := pod.Spec.Tolerations
	if len(got) != 2 || got[0] != forever || got[1].Key != corev1.TaintNodeUnreachable || *got[1].TolerationSeconds != 5 {
		t.Errorf("%+v", got)
	}
}
