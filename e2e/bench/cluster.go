package main

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/holt-project/holt/e2e/harness"
)

const (
	namespace = "default"
	image     = "holt.local/whoami:1"
)

// up measures from holt up to all nodes Ready. The last cluster is kept.
func (b *bench) up(ctx context.Context) ([]row, error) {
	var took []time.Duration
	for range b.runs {
		if err := b.down(); err != nil {
			return nil, err
		}
		begun := time.Now()
		if err := b.start(ctx); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
	}
	return []row{durations("holt up to all nodes Ready (3 servers, 2 agents)", took)}, nil
}

// leader measures from the leader's power cut to the first write that another server accepts.
func (b *bench) leader(ctx context.Context) ([]row, error) {
	if err := b.running(ctx); err != nil {
		return nil, err
	}
	var took []time.Duration
	for run := range b.runs {
		d, err := b.loseLeader(ctx, run)
		if err != nil {
			return nil, err
		}
		took = append(took, d)
	}
	return []row{durations("leader killed to first accepted write", took)}, nil
}

func (b *bench) loseLeader(ctx context.Context, run int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	leader, err := b.cluster.Leader(ctx)
	if err != nil {
		return 0, err
	}
	other := b.cluster.Servers()[0].Name
	if other == leader {
		other = b.cluster.Servers()[1].Name
	}
	// The client's connection is there before, as that of any client that works.
	if err := harness.WriteConfigMap(ctx, b.cluster.At(other), namespace, fmt.Sprintf("before-%d", run)); err != nil {
		return 0, err
	}
	if err := b.cluster.Kill(ctx, leader); err != nil {
		return 0, err
	}
	lost := time.Now()
	err = harness.Await(ctx, "a write is accepted", func(ctx context.Context) error {
		name := fmt.Sprintf("after-%d-%d", run, time.Since(lost).Microseconds())
		return harness.WriteConfigMap(ctx, b.cluster.At(other), namespace, name)
	})
	took := time.Since(lost)
	if err != nil {
		return 0, err
	}
	if err := b.cluster.Start(ctx, leader); err != nil {
		return 0, err
	}
	_, err = b.cluster.AwaitSameState(ctx)
	return took, err
}

// worker measures from a worker's power cut until its pods are replaced and answer elsewhere.
func (b *bench) worker(ctx context.Context) ([]row, error) {
	if err := b.running(ctx); err != nil {
		return nil, err
	}
	if err := b.cluster.API.Create(ctx, harness.Services, service()); err != nil {
		return nil, err
	}
	var ready, served []time.Duration
	for range b.runs {
		r, s, err := b.loseWorker(ctx)
		if err != nil {
			return nil, err
		}
		ready, served = append(ready, r), append(served, s)
	}
	return []row{
		durations("worker killed to node NotReady", ready),
		durations("worker killed to its pods replaced and serving", served),
	}, nil
}

// replicas of the Deployment that loses a worker; half of them are on it.
const replicas = 4

func (b *bench) loseWorker(ctx context.Context) (notReady, served time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := b.cluster
	victim, survivor := c.Agents()[0], c.Agents()[1]
	if err := c.API.Create(ctx, harness.Deployments, deployment()); err != nil {
		return 0, 0, err
	}
	if _, err := c.AwaitPods(ctx, namespace, "app=whoami", replicas, nil); err != nil {
		return 0, 0, err
	}
	port, err := c.NodePort(ctx, namespace, "whoami")
	if err != nil {
		return 0, 0, err
	}
	if err := c.Kill(ctx, victim.Name); err != nil {
		return 0, 0, err
	}
	lost := time.Now()
	if err := c.AwaitNode(ctx, victim.Name, false); err != nil {
		return 0, 0, err
	}
	notReady = time.Since(lost)
	onSurvivor := func(p *corev1.Pod) bool { return p.Spec.NodeName == survivor.Name }
	if _, err := c.AwaitPods(ctx, namespace, "app=whoami", replicas, onSurvivor); err != nil {
		return 0, 0, err
	}
	if _, err := harness.AwaitAnswers(ctx, fmt.Sprintf("http://%s:%d/", survivor.Address, port), replicas); err != nil {
		return 0, 0, err
	}
	served = time.Since(lost)
	if err := c.Start(ctx, victim.Name); err != nil {
		return 0, 0, err
	}
	if err := c.AwaitNode(ctx, victim.Name, true); err != nil {
		return 0, 0, err
	}
	if err := c.API.Delete(ctx, harness.Deployments, namespace, "whoami", metav1.DeleteOptions{}); err != nil {
		return 0, 0, err
	}
	_, err = c.AwaitPods(ctx, namespace, "app=whoami", 0, nil)
	return notReady, served, err
}

func deployment() *appsv1.Deployment {
	labels := map[string]string{"app": "whoami"}
	count := int32(replicas)
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "whoami"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &count,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "whoami", Image: image}}},
			},
		},
	}
}

func service() *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "whoami"},
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeNodePort,
			Selector: map[string]string{"app": "whoami"},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
}
