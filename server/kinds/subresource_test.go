package kinds_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

func TestBinding(t *testing.T) {
	now := metav1.NewTime(time.Unix(1000, 0))
	binding := func(edit func(*corev1.Binding)) *corev1.Binding {
		b := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "worker-1"}}
		b.CreationTimestamp, b.Annotations = now, map[string]string{"score": "9"}
		if edit != nil {
			edit(b)
		}
		return b
	}
	for name, test := range map[string]struct {
		pod  func(*corev1.Pod)
		bind func(*corev1.Binding)
		is   func(error) bool
	}{
		"free":       {is: func(err error) bool { return err == nil }},
		"bound":      {pod: func(p *corev1.Pod) { p.Spec.NodeName = "worker-1" }, is: apierrors.IsConflict},
		"leaving":    {pod: func(p *corev1.Pod) { p.DeletionTimestamp = &now }, is: apierrors.IsConflict},
		"gated":      {pod: func(p *corev1.Pod) { p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "wait"}} }, is: apierrors.IsConflict},
		"successor":  {bind: func(b *corev1.Binding) { b.UID = "other" }, is: apierrors.IsConflict},
		"nowhere":    {bind: func(b *corev1.Binding) { b.Target.Name = "" }, is: apierrors.IsInvalid},
		"to nothing": {bind: func(b *corev1.Binding) { b.Target.Kind = "Pod" }, is: apierrors.IsInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			k := find(t, "pods")
			pod := create(t, k, podWith("", "")).(*corev1.Pod)
			if test.pod != nil {
				test.pod(pod)
			}
			err := k.Subresources["binding"].Create(pod, binding(test.bind))
			if !test.is(err) {
				t.Fatalf("binding: %v", err)
			}
			if err != nil {
				return
			}
			want := []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now, ObservedGeneration: 1}}
			if diff := cmp.Diff(want, pod.Status.Conditions); diff != "" {
				t.Error(diff)
			}
			if pod.Spec.NodeName != "worker-1" || pod.Annotations["score"] != "9" {
				t.Errorf("bound to %q with %v", pod.Spec.NodeName, pod.Annotations)
			}
			if got := k.Indexes[kinds.ByNode](pod); !cmp.Equal(got, []string{"worker-1"}) {
				t.Errorf("indexed under %v", got)
			}
		})
	}
}

func TestScale(t *testing.T) {
	k := find(t, "deployments.apps")
	d := create(t, k, webDeployment).(*appsv1.Deployment)
	d.Status.Replicas = 1
	scale := k.Subresources["scale"]
	body, err := scale.Get(d)
	if err != nil {
		t.Fatal(err)
	}
	got := body.(*autoscalingv1.Scale)
	want := autoscalingv1.ScaleStatus{Replicas: 1, Selector: "app=web"}
	if got.Spec.Replicas != 1 || got.Name != "web" || got.Kind != "Scale" || !cmp.Equal(got.Status, want) {
		t.Errorf("scale %+v", got)
	}
	got.Spec.Replicas = 3
	if errs := scale.Update(d, got); len(errs) > 0 {
		t.Fatal(errs)
	}
	if *d.Spec.Replicas != 3 || d.Generation != 2 {
		t.Errorf("%d replicas in generation %d", *d.Spec.Replicas, d.Generation)
	}
	if errs := scale.Update(d, got); len(errs) > 0 || d.Generation != 2 {
		t.Errorf("the same scale again: %v, generation %d", errs, d.Generation)
	}
	got.Spec.Replicas = -1
	errs := scale.Update(d, got)
	if len(errs) != 1 || errs[0].Error() != "spec.replicas: Invalid value: -1: must be greater than or equal to 0" {
		t.Error(errs)
	}
}

func TestStatusChangesNothingElse(t *testing.T) {
	eachKind(t, func(t *testing.T, k *kinds.Kind) {
		status, found := k.Subresources["status"]
		if !found {
			return
		}
		for seed := range int64(20) {
			obj, body := k.New(), k.New()
			filler(seed).Fill(obj)
			filler(seed + 100).Fill(body)
			before := obj.DeepCopyObject().(fsm.Value)
			status.Update(obj, body)
			// With the status back, the object is what it was.
			if k.Prepare == nil {
				t.Fatal("a status, and nothing that keeps it from clients")
			}
			after := obj.DeepCopyObject().(fsm.Value)
			k.Prepare(after, before)
			k.Prepare(before, before.DeepCopyObject().(fsm.Value))
			if diff := cmp.Diff(before, after); diff != "" {
				t.Fatalf("seed %d: %s", seed, diff)
			}
		}
	})
}

func TestStatusOfReplicas(t *testing.T) {
	k := find(t, "replicasets.apps")
	rs := k.New()
	body := &appsv1.ReplicaSet{Status: appsv1.ReplicaSetStatus{Replicas: 1, ReadyReplicas: 2, AvailableReplicas: 1}}
	errs := k.Subresources["status"].Update(rs, body)
	if len(errs) != 1 || errs[0].Error() != "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas" {
		t.Error(errs)
	}
}

func TestEndedContainersStayEnded(t *testing.T) {
	k := find(t, "pods")
	pod := create(t, k, podWith("restartPolicy: Never, ", "")).(*corev1.Pod)
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
	body := pod.DeepCopy()
	body.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	errs := k.Subresources["status"].Update(pod, body)
	if len(errs) != 1 || errs[0].Error() != "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state" {
		t.Error(errs)
	}
}

func TestServiceKeepsWhatWasAllocated(t *testing.T) {
	k := find(t, "services")
	old := create(t, k, serviceWith("type: NodePort, clusterIP: 10.0.0.1, ports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: 81, nodePort: 30081}]"))
	updated, errs := update(t, k, old, serviceWith("type: NodePort, ports: [{name: a, port: 80}, {name: c, port: 82}]"))
	sameProblems(t, errs)
	spec := updated.(*corev1.Service).Spec
	if spec.ClusterIP != "10.0.0.1" || spec.Ports[0].NodePort != 30080 || spec.Ports[1].NodePort != 0 {
		t.Errorf("%+v", spec)
	}
	updated, errs = update(t, k, old, serviceWith("clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], externalTrafficPolicy: Cluster, ports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: 81, nodePort: 30081}]"))
	sameProblems(t, errs)
	if port := updated.(*corev1.Service).Spec.Ports[0].NodePort; port != 0 {
		t.Errorf("a cluster service has node port %d", port)
	}
}

func TestSelectableFields(t *testing.T) {
	for resource, test := range map[string]struct {
		manifest string
		want     map[string]string
	}{
		"pods": {podWith("nodeName: n1, hostNetwork: true, serviceAccountName: sa, ", ""), map[string]string{
			"spec.nodeName": "n1", "spec.restartPolicy": "Always", "spec.schedulerName": "default-scheduler", "spec.serviceAccountName": "sa",
			"spec.hostNetwork": "true", "status.phase": "Pending", "status.podIP": "", "status.nominatedNodeName": "",
		}},
		"nodes":            {`{spec: {unschedulable: true}}`, map[string]string{"spec.unschedulable": "true"}},
		"namespaces":       {`{metadata: {name: a}}`, map[string]string{"status.phase": "Active"}},
		"services":         {serviceWith("clusterIP: None"), map[string]string{"spec.clusterIP": "None", "spec.type": "ClusterIP"}},
		"secrets":          {`{}`, map[string]string{"type": "Opaque"}},
		"replicasets.apps": {`{}`, map[string]string{"status.replicas": "0"}},
		"events": {`{involvedObject: {kind: Pod, namespace: ns, name: a, uid: u, apiVersion: v1, resourceVersion: "5", fieldPath: p}, reason: R, type: Normal, source: {component: s}}`,
			map[string]string{
				"involvedObject.kind": "Pod", "involvedObject.namespace": "ns", "involvedObject.name": "a", "involvedObject.uid": "u",
				"involvedObject.apiVersion": "v1", "involvedObject.resourceVersion": "5", "involvedObject.fieldPath": "p",
				"reason": "R", "type": "Normal", "source": "s", "reportingComponent": "s",
			}},
	} {
		t.Run(resource, func(t *testing.T) {
			k := find(t, resource)
			if diff := cmp.Diff(test.want, map[string]string(k.Fields(create(t, k, test.manifest)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNodesReportCapacityAndAllByDefaultIsAllocatable(t *testing.T) {
	k := find(t, "nodes")
	node := create(t, k, `{metadata: {name: n1}}`).(*corev1.Node)
	body := parse(t, k, `{metadata: {name: n1}, status: {capacity: {cpu: 4}}}`)
	if errs := k.Subresources["status"].Update(node, body); len(errs) > 0 {
		t.Fatal(errs)
	}
	if got := node.Status.Allocatable.Cpu().Value(); got != 4 {
		t.Errorf("%d processors are allocatable", got)
	}
}
