package endpointslice_test

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	ct "github.com/holt-project/holt/server/controllers/controllertest"
	"github.com/holt-project/holt/server/controllers/endpointslice"
)

var app = map[string]string{"app": "web"}

type world struct {
	*ct.Cluster
	t    *testing.T
	loop *ct.Loop
}

func newWorld(t *testing.T, change ...func(*corev1.Service)) *world {
	c := ct.New(t)
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Labels: map[string]string{"team": "a"}},
		Spec: corev1.ServiceSpec{Selector: app, Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}}}}
	for _, f := range change {
		f(s)
	}
	c.Create(s)
	return &world{c, t, c.Loop(endpointslice.New())}
}

// pod makes a running pod on node n1 whose port http is the number.
func (w *world) pod(name, ip string, port int32, ready bool) {
	w.t.Helper()
	p := ct.Pod(name, app)
	p.Spec.NodeName = "n1"
	p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: port}}
	w.Create(p)
	w.status(name, func(p *corev1.Pod) {
		p.Status.PodIP = ip
		ct.SetReady(p, ready, w.Time())
	})
}

func (w *world) status(name string, change func(*corev1.Pod)) {
	w.t.Helper()
	ct.EditStatus(w.Cluster, name, change)
}

func (w *world) settle() []*discoveryv1.EndpointSlice {
	w.t.Helper()
	w.Settle(nil, w.loop)
	w.Idle(w.loop)
	return ct.List[*discoveryv1.EndpointSlice](w.Cluster)
}

// addresses are all endpoints as "ip conditions", sorted.
func addresses(all []*discoveryv1.EndpointSlice) (list []string) {
	for _, s := range all {
		for _, e := range s.Endpoints {
			c := e.Conditions
			list = append(list, fmt.Sprintf("%s:%d ready=%t serving=%t terminating=%t", e.Addresses[0], *s.Ports[0].Port, *c.Ready, *c.Serving, *c.Terminating))
		}
	}
	slices.Sort(list)
	return list
}

func (w *world) want(want ...string) {
	w.t.Helper()
	if got := addresses(w.settle()); !slices.Equal(got, want) {
		w.t.Fatalf("endpoints %v, want %v", got, want)
	}
}

func TestConditions(t *testing.T) {
	w := newWorld(t)
	w.pod("a", "10.0.0.1", 8080, true)
	w.pod("b", "10.0.0.2", 8080, false)
	w.pod("no-ip", "", 8080, true)
	w.pod("ended", "10.0.0.9", 8080, true)
	w.status("ended", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })
	w.want("10.0.0.1:8080 ready=true serving=true terminating=false", "10.0.0.2:8080 ready=false serving=false terminating=false")
	w.Delete(ct.Get[*corev1.Pod](w.Cluster, "a"))
	w.want("10.0.0.1:8080 ready=false serving=true terminating=true", "10.0.0.2:8080 ready=false serving=false terminating=false")
	w.Remove(ct.Get[*corev1.Pod](w.Cluster, "a"))
	w.status("b", func(p *corev1.Pod) { ct.SetReady(p, true, w.Time()) })
	w.want("10.0.0.2:8080 ready=true serving=true terminating=false")
	e := w.settle()[0].Endpoints[0]
	if *e.NodeName != "n1" || e.TargetRef.Name != "b" || e.TargetRef.Kind != "Pod" || e.TargetRef.UID == "" {
		t.Errorf("endpoint %+v", e)
	}
}

func TestLabels(t *testing.T) {
	w := newWorld(t, func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone })
	w.pod("a", "10.0.0.1", 8080, true)
	s := w.settle()[0]
	for k, v := range map[string]string{"kubernetes.io/service-name": "web", "team": "a", "service.kubernetes.io/headless": "",
		"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"} {
		if got, ok := s.Labels[k]; !ok || got != v {
			t.Errorf("label %s is %q, want %q", k, got, v)
		}
	}
	if ref := metav1.GetControllerOf(s); ref == nil || ref.Kind != "Service" {
		t.Errorf("owner %v", ref)
	}
}

func TestPublishNotReadyAddresses(t *testing.T) {
	w := newWorld(t, func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true })
	w.pod("a", "10.0.0.1", 8080, false)
	w.want("10.0.0.1:8080 ready=true serving=false terminating=false")
}

func TestNamedPortsThatDiffer(t *testing.T) {
	w := newWorld(t)
	w.pod("a", "10.0.0.1", 8080, true)
	w.pod("b", "10.0.0.2", 9090, true)
	w.want("10.0.0.1:8080 ready=true serving=true terminating=false", "10.0.0.2:9090 ready=true serving=true terminating=false")
	if n := len(w.settle()); n != 2 {
		t.Errorf("%d slices, want one for each port", n)
	}
}

func TestEmptyService(t *testing.T) {
	w := newWorld(t)
	if all := w.settle(); len(all) != 1 || len(all[0].Endpoints) != 0 {
		t.Fatalf("slices %v, want an empty one", all)
	}
	w.pod("a", "10.0.0.1", 8080, true)
	if all := w.settle(); len(all) != 1 || len(all[0].Endpoints) != 1 {
		t.Fatalf("slices %v, want one with one endpoint", all)
	}
}

func TestWhatIsNotOursToFind(t *testing.T) {
	w := newWorld(t, func(s *corev1.Service) { s.Spec.Selector = nil })
	w.Create(&discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: "mine", Labels: map[string]string{"kubernetes.io/service-name": "web"}},
		AddressType: discoveryv1.AddressTypeIPv4})
	if all := w.settle(); len(all) != 1 || all[0].Name != "mine" {
		t.Fatalf("slices %v: a user's own must stay, and alone", all)
	}
}

func TestSelectorChangesAndServiceGoes(t *testing.T) {
	w := newWorld(t)
	w.pod("a", "10.0.0.1", 8080, true)
	w.settle()
	ct.Edit(w.Cluster, "a", func(p *corev1.Pod) { p.Labels = map[string]string{"app": "x"} })
	w.want()
	ct.Edit(w.Cluster, "web", func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "x"} })
	w.want("10.0.0.1:8080 ready=true serving=true terminating=false")
	w.Delete(ct.Get[*corev1.Service](w.Cluster, "web"))
	if all := w.settle(); len(all) != 0 {
		t.Fatalf("slices %v of a Service that is gone", all)
	}
}

func TestSliceThatSomebodyDamages(t *testing.T) {
	w := newWorld(t)
	w.pod("a", "10.0.0.1", 8080, true)
	name := w.settle()[0].Name
	ct.Edit(w.Cluster, name, func(s *discoveryv1.EndpointSlice) { s.Endpoints = nil })
	w.want("10.0.0.1:8080 ready=true serving=true terminating=false")
	w.Delete(ct.Get[*discoveryv1.EndpointSlice](w.Cluster, name))
	w.want("10.0.0.1:8080 ready=true serving=true terminating=false")
}

// A pod that comes or goes changes one slice of many.
func TestManyEndpoints(t *testing.T) {
	w := newWorld(t)
	for i := range 250 {
		w.pod(fmt.Sprintf("p%03d", i), fmt.Sprintf("10.0.%d.%d", i/200, i%200+1), 8080, true)
	}
	all := w.settle()
	if len(all) != 3 || len(addresses(all)) != 250 {
		t.Fatalf("%d slices with %d endpoints", len(all), len(addresses(all)))
	}
	w.Remove(ct.Get[*corev1.Pod](w.Cluster, "p000"))
	if changes := w.loop.Step(); len(changes) != 1 {
		t.Errorf("%d changes for one pod that went", len(changes))
	}
	w.pod("a-first", "10.0.9.9", 8080, true)
	w.loop.Step()
	for _, s := range w.settle() {
		if len(s.Endpoints) > 100 {
			t.Errorf("%s has %d endpoints", s.Name, len(s.Endpoints))
		}
	}
	if n := len(addresses(w.settle())); n != 250 {
		t.Errorf("%d endpoints", n)
	}
}
