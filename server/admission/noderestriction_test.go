package admission_test

import (
	"context"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/admission"
	"github.com/holt-project/holt/server/auth"
	"github.com/holt-project/holt/server/kinds"
)

func nodeObject(name string, change ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	for _, f := range change {
		f(n)
	}
	return n
}

func label(key string) func(*corev1.Node) {
	return func(n *corev1.Node) { n.Labels[key] = "x" }
}

func podOn(node string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p"}, Spec: corev1.PodSpec{NodeName: node}}
	for _, f := range change {
		f(p)
	}
	return p
}

func lease(namespace, name string) *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func TestNodeRestriction(t *testing.T) {
	owned := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "1"}
	taint := func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "a", Effect: corev1.TaintEffectNoSchedule}} }
	closed := func(n *corev1.Node) { n.Spec.Unschedulable = true }
	cidr := func(n *corev1.Node) { n.Spec.PodCIDR = "10.0.0.0/24" }
	ready := func(n *corev1.Node) { n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady}} }
	owner := func(n *corev1.Node) { n.OwnerReferences = []metav1.OwnerReference{owned} }
	none := func(*corev1.Node) {}
	const create, update, remove = admission.Create, admission.Update, admission.Delete
	for name, c := range map[string]struct {
		op            admission.Operation
		resource, sub string
		object, old   fsm.Value
		allowed       bool
	}{
		"registers":                   {create, "nodes", "", nodeObject("n1", ready), nil, true},
		"registers another":           {create, "nodes", "", nodeObject("n2"), nil, false},
		"registers with a taint":      {create, "nodes", "", nodeObject("n1", taint), nil, false},
		"registers with a range":      {create, "nodes", "", nodeObject("n1", cidr), nil, false},
		"registers with an owner":     {create, "nodes", "", nodeObject("n1", owner), nil, false},
		"registers as control plane":  {create, "nodes", "", nodeObject("n1", label("node-role.kubernetes.io/control-plane")), nil, false},
		"registers as restricted":     {create, "nodes", "", nodeObject("n1", label("x.node-restriction.kubernetes.io/a")), nil, false},
		"updates labels":              {update, "nodes", "", nodeObject("n1", label("example.com/a")), nodeObject("n1"), true},
		"a label without a domain":    {update, "nodes", "", nodeObject("n1", label("disk")), nodeObject("n1"), true},
		"a label of its zone":         {update, "nodes", "", nodeObject("n1", label(corev1.LabelTopologyZone)), nodeObject("n1"), true},
		"a label of the kubelet":      {update, "nodes", "", nodeObject("n1", label("a.kubelet.kubernetes.io/x")), nodeObject("n1"), true},
		"a label that looks like one": {update, "nodes", "", nodeObject("n1", label("mykubelet.kubernetes.io/x")), nodeObject("n1"), false},
		"a restricted label":          {update, "nodes", "", nodeObject("n1", label("node-restriction.kubernetes.io/a")), nodeObject("n1"), false},
		"drops a restricted label":    {update, "nodes", "", nodeObject("n1"), nodeObject("n1", label("node-restriction.kubernetes.io/a")), false},
		"keeps a restricted label": {update, "nodes", "", nodeObject("n1", label("node-restriction.kubernetes.io/a")),
			nodeObject("n1", label("node-restriction.kubernetes.io/a")), true},
		"keeps its taint":         {update, "nodes", "", nodeObject("n1", taint), nodeObject("n1", taint), true},
		"drops its taint":         {update, "nodes", "", nodeObject("n1", none), nodeObject("n1", taint), false},
		"opens itself":            {update, "nodes", "", nodeObject("n1"), nodeObject("n1", closed), false},
		"takes a range":           {update, "nodes", "", nodeObject("n1", cidr), nodeObject("n1"), false},
		"takes an owner":          {update, "nodes", "", nodeObject("n1", owner), nodeObject("n1"), false},
		"takes an owner, status":  {update, "nodes", "status", nodeObject("n1", owner), nodeObject("n1"), false},
		"keeps an owner":          {update, "nodes", "", nodeObject("n1", owner), nodeObject("n1", owner), true},
		"reports":                 {update, "nodes", "status", nodeObject("n1", ready), nodeObject("n1"), true},
		"reports for another":     {update, "nodes", "status", nodeObject("n2", ready), nodeObject("n2"), false},
		"updates another":         {update, "nodes", "", nodeObject("n2", label("a.com/b")), nodeObject("n2"), false},
		"deletes itself":          {remove, "nodes", "", nil, nodeObject("n1"), false},
		"reports a pod":           {update, "pods", "status", podOn("n1"), podOn("n1"), true},
		"reports another's pod":   {update, "pods", "status", podOn("n2"), podOn("n2"), false},
		"claims a pod":            {update, "pods", "status", podOn("n1"), podOn(""), false},
		"relabels a pod":          {update, "pods", "status", podOn("n1", func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }), podOn("n1"), false},
		"an owner for a pod":      {update, "pods", "status", podOn("n1", func(p *corev1.Pod) { p.OwnerReferences = []metav1.OwnerReference{owned} }), podOn("n1"), false},
		"finishes a pod":          {remove, "pods", "", nil, podOn("n1"), true},
		"finishes another's pod":  {remove, "pods", "", nil, podOn("n2"), false},
		"creates a pod":           {create, "pods", "", podOn("n1"), nil, false},
		"binds a pod":             {create, "pods", "binding", podOn("n1"), podOn(""), false},
		"changes a pod":           {update, "pods", "", podOn("n1"), podOn("n1"), false},
		"writes an event":         {create, "events", "", &corev1.Event{}, nil, true},
		"writes a secret":         {create, "secrets", "", &corev1.Secret{}, nil, false},
		"its lease":               {create, "leases.coordination.k8s.io", "", lease("kube-node-lease", "n1"), nil, true},
		"another's lease":         {create, "leases.coordination.k8s.io", "", lease("kube-node-lease", "n2"), nil, false},
		"a lease somewhere else":  {create, "leases.coordination.k8s.io", "", lease("kube-system", "n1"), nil, false},
		"a lease with an owner":   {create, "leases.coordination.k8s.io", "", withOwner(lease("kube-node-lease", "n1"), owned), nil, false},
		"an event with an owner":  {create, "events", "", withOwner(&corev1.Event{}, owned), nil, false},
		"a pod that is not there": {remove, "pods", "", nil, nil, false},
	} {
		a := &admission.Attributes{Operation: c.op, Kind: kinds.Builtin().ByStore(c.resource), Subresource: c.sub, Object: c.object, Old: c.old}
		for _, o := range []fsm.Value{c.old, c.object} {
			if o != nil {
				a.Namespace, a.Name = o.GetNamespace(), o.GetName()
			}
		}
		if c.op == create {
			a.Name = ""
		}
		step := admission.NodeRestriction()
		a.User = auth.User{Name: "system:node:n1", Groups: []string{auth.NodesGroup}}
		err := step(context.Background(), a)
		if (err == nil) != c.allowed || err != nil && !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", name, err)
		}
		a.User = auth.User{Name: "admin", Groups: []string{auth.AdminGroup}}
		if err := step(context.Background(), a); err != nil {
			t.Errorf("%s, by an administrator: %v", name, err)
		}
	}
}

func withOwner[T fsm.Value](v T, o metav1.OwnerReference) T {
	v.SetOwnerReferences([]metav1.OwnerReference{o})
	return v
}
