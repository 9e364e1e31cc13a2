package deployment

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The reasons in a Deployment's conditions, as kubectl rollout status reads them.
const (
	reasonAvailable   = "MinimumReplicasAvailable"
	reasonUnavailable = "MinimumReplicasUnavailable"
	reasonNewReady    = "NewReplicaSetAvailable"
	reasonNewCreated  = "NewReplicaSetCreated"
	reasonUpdated     = "ReplicaSetUpdated"
	reasonDeadline    = "ProgressDeadlineExceeded"
	reasonPaused      = "DeploymentPaused"
	reasonResumed     = "DeploymentResumed"
)

func (r *rollout) writeStatus() {
	if r.statusPlanned() {
		return
	}
	next := r.d.DeepCopy()
	s := &next.Status
	counts(s, r.all, r.new)
	s.ObservedGeneration = r.d.Generation
	r.setAvailable(s)
	r.setProgressing(s)
	if !equality.Semantic.DeepEqual(r.d.Status, *s) {
		r.UpdateStatus(resource, next)
	}
}

// statusPlanned reports whether the Deployment itself is changed by this plan; the status follows with the next.
func (r *rollout) statusPlanned() bool {
	for _, ch := range r.Changes {
		if ch.Resource == resource && ch.Event.Reason == "" {
			return true
		}
	}
	return false
}

func counts(s *appsv1.DeploymentStatus, all []*appsv1.ReplicaSet, present *appsv1.ReplicaSet) {
	s.Replicas, s.ReadyReplicas, s.AvailableReplicas, s.UpdatedReplicas = 0, 0, 0, 0
	for _, rs := range all {
		s.Replicas += rs.Status.Replicas
		s.ReadyReplicas += rs.Status.ReadyReplicas
		s.AvailableReplicas += rs.Status.AvailableReplicas
	}
	if present != nil {
		s.UpdatedReplicas = present.Status.Replicas
	}
	s.UnavailableReplicas = max(0, specSum(all)-s.AvailableReplicas)
}

// complete reports whether all wanted pods are of the present template and available, and no other is left.
func (r *rollout) complete() bool {
	var s appsv1.DeploymentStatus
	counts(&s, r.all, r.new)
	want := *r.d.Spec.Replicas
	return s.UpdatedReplicas == want && s.Replicas == want && s.AvailableReplicas == want &&
		r.d.Status.ObservedGeneration >= r.d.Generation
}

func (r *rollout) setAvailable(s *appsv1.DeploymentStatus) {
	if s.AvailableReplicas >= *r.d.Spec.Replicas-r.maxUnavailable() {
		r.set(s, appsv1.DeploymentAvailable, corev1.ConditionTrue, reasonAvailable, "Deployment has minimum availability.")
		return
	}
	r.set(s, appsv1.DeploymentAvailable, corev1.ConditionFalse, reasonUnavailable,
		"Deployment does not have minimum availability.")
}

func (r *rollout) setProgressing(s *appsv1.DeploymentStatus) {
	if r.d.Spec.ProgressDeadlineSeconds == nil {
		return
	}
	was := condition(&r.d.Status, appsv1.DeploymentProgressing)
	name := r.d.Name + "-" + templateHash(&r.d.Spec.Template, 0)
	if r.new != nil {
		name = r.new.Name
	}
	switch {
	case r.d.Spec.Paused:
		r.set(s, appsv1.DeploymentProgressing, corev1.ConditionUnknown, reasonPaused, "Deployment is paused")
	case was != nil && was.Reason == reasonPaused:
		r.set(s, appsv1.DeploymentProgressing, corev1.ConditionUnknown, reasonResumed, "Deployment is resumed")
	case was == nil:
		r.set(s, appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonNewCreated,
			fmt.Sprintf("Created new replica set %q", name))
	case r.complete():
		r.set(s, appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonNewReady,
			fmt.Sprintf("ReplicaSet %q has successfully progressed.", name))
	case was.Reason == reasonNewReady && s.Replicas == s.UpdatedReplicas && r.new != nil:
		// A pod was lost, or others are wanted, after the rollout was done: that is no rollout, and has no deadline.
	case progressed(&r.d.Status, s) || was.Reason == reasonNewReady:
		r.set(s, appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonUpdated,
			fmt.Sprintf("ReplicaSet %q is progressing.", name))
		condition(s, appsv1.DeploymentProgressing).LastUpdateTime = metav1.NewTime(r.now.Truncate(time.Second))
		r.watchDeadline(r.now)
	case was.Reason != reasonDeadline:
		r.checkDeadline(s, was, name)
	}
}

// progressed reports whether more pods are up to date, ready or available than before, or fewer old ones are left.
func progressed(was, is *appsv1.DeploymentStatus) bool {
	return is.UpdatedReplicas > was.UpdatedReplicas || is.ReadyReplicas > was.ReadyReplicas ||
		is.AvailableReplicas > was.AvailableReplicas ||
		is.Replicas-is.UpdatedReplicas < was.Replicas-was.UpdatedReplicas
}

func (r *rollout) deadline() time.Duration {
	return time.Duration(*r.d.Spec.ProgressDeadlineSeconds) * time.Second
}

func (r *rollout) watchDeadline(since time.Time) { r.At(since.Add(r.deadline())) }

func (r *rollout) checkDeadline(s *appsv1.DeploymentStatus, was *appsv1.DeploymentCondition, name string) {
	if r.now.Before(was.LastUpdateTime.Add(r.deadline())) {
		r.watchDeadline(was.LastUpdateTime.Time)
		return
	}
	r.set(s, appsv1.DeploymentProgressing, corev1.ConditionFalse, reasonDeadline,
		fmt.Sprintf("ReplicaSet %q has timed out progressing.", name))
}

func condition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == t {
			return &s.Conditions[i]
		}
	}
	return nil
}

// set changes a condition; its times change only if it does.
func (r *rollout) set(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType, status corev1.ConditionStatus,
	reason, message string) {
	now := metav1.NewTime(r.now.Truncate(time.Second))
	c := condition(s, t)
	if c == nil {
		s.Conditions = append(s.Conditions, appsv1.DeploymentCondition{Type: t, LastTransitionTime: now})
		c = &s.Conditions[len(s.Conditions)-1]
	}
	if c.Status == status && c.Reason == reason && c.Message == message {
		return
	}
	if c.Status != status {
		c.LastTransitionTime = now
	}
	c.Status, c.Reason, c.Message, c.LastUpdateTime = status, reason, message, now
}
