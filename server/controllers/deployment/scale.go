package deployment

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/holt-project/holt/server/controllers/podutil"
)

// maxSurge and maxUnavailable are in pods. Both zero would never move: Kubernetes then takes one unavailable.
func (r *rollout) maxSurge() int32 {
	surge, _ := r.limits()
	return surge
}

func (r *rollout) maxUnavailable() int32 {
	_, unavailable := r.limits()
	return min(unavailable, *r.d.Spec.Replicas)
}

func (r *rollout) limits() (surge, unavailable int32) {
	ru := r.d.Spec.Strategy.RollingUpdate
	if ru == nil || r.d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType || *r.d.Spec.Replicas == 0 {
		return 0, 0
	}
	surge = scaled(ru.MaxSurge, *r.d.Spec.Replicas, true)
	unavailable = scaled(ru.MaxUnavailable, *r.d.Spec.Replicas, false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable
}

func scaled(v *intstr.IntOrString, total int32, up bool) int32 {
	if v == nil {
		return 0
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, int(total), up)
	if err != nil {
		return 0 // refused by validation
	}
	return int32(n)
}

func specSum(sets []*appsv1.ReplicaSet) (n int32) {
	for _, rs := range sets {
		n += *rs.Spec.Replicas
	}
	return n
}

// newReplicas is how large the new ReplicaSet, now of size has, may be at present.
func (r *rollout) newReplicas(has int32) int32 {
	want := *r.d.Spec.Replicas
	if r.d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType {
		return want
	}
	return max(has, min(has+r.room(), want))
}

// room is how many more pods there may be at present.
func (r *rollout) room() int32 {
	room := *r.d.Spec.Replicas + r.maxSurge()
	for _, rs := range r.all {
		room -= r.held(rs)
	}
	return max(0, room)
}

// roll takes one step of a rolling update: up with the new one as far as there is room, else down with the old ones
// as far as enough pods are available.
func (r *rollout) roll() {
	has := *r.new.Spec.Replicas
	if target := r.target(has); target != has {
		r.scaleTo(r.new, target)
		return
	}
	minAvailable := *r.d.Spec.Replicas - r.maxUnavailable()
	spare := specSum(r.old) + r.available(r.new) - minAvailable
	if specSum(r.old) == 0 || spare <= 0 {
		return
	}
	available := int32(0)
	for _, rs := range r.all {
		available += r.available(rs)
	}
	spare -= r.dropUnhealthy(spare)
	r.dropOld(min(spare, available-minAvailable))
}

func (r *rollout) target(has int32) int32 {
	if has > *r.d.Spec.Replicas {
		return *r.d.Spec.Replicas
	}
	return r.newReplicas(has)
}

// dropUnhealthy takes away old pods that are not available anyway, at most limit, and returns how many.
func (r *rollout) dropUnhealthy(limit int32) int32 {
	var dropped int32
	for _, rs := range r.old {
		sick := *rs.Spec.Replicas - r.available(rs)
		if n := min(sick, limit-dropped); n > 0 {
			r.scaleTo(rs, *rs.Spec.Replicas-n)
			dropped += n
		}
	}
	return dropped
}

// dropOld takes away available old pods, at most limit, from the oldest ReplicaSets first.
func (r *rollout) dropOld(limit int32) {
	for _, rs := range r.old {
		if n := min(*rs.Spec.Replicas, limit); n > 0 && !r.planned(rs) {
			r.scaleTo(rs, *rs.Spec.Replicas-n)
			limit -= n
		}
	}
}

// planned reports whether this plan changes rs already: one object is changed once in a plan.
func (r *rollout) planned(rs *appsv1.ReplicaSet) bool {
	for _, ch := range r.Changes {
		if ch.Resource == replicaSets && ch.Object.GetUID() == rs.UID {
			return true
		}
	}
	return false
}

// recreate brings the old ones to nothing and only then the new one up.
func (r *rollout) recreate() {
	switch {
	case !r.oldIsGone():
		r.scaleDownAll()
	case *r.new.Spec.Replicas != *r.d.Spec.Replicas:
		r.scaleTo(r.new, *r.d.Spec.Replicas)
	}
}

func (r *rollout) scaleDownAll() {
	for _, rs := range r.old {
		if *rs.Spec.Replicas > 0 {
			r.scaleTo(rs, 0)
		}
	}
}

// oldIsGone reports whether no pod of an old ReplicaSet can still be running.
func (r *rollout) oldIsGone() bool {
	for _, rs := range r.old {
		if *rs.Spec.Replicas > 0 {
			return false
		}
		for _, pod := range r.pods(rs) {
			if !podutil.Ended(pod) {
				return false
			}
		}
	}
	return true
}

// wasScaled reports whether the Deployment's size changed since the ReplicaSets were sized.
func (r *rollout) wasScaled() bool {
	for _, rs := range r.all {
		if *rs.Spec.Replicas == 0 {
			continue
		}
		if was, err := strconv.Atoi(rs.Annotations[desiredAnnotation]); err == nil && int32(was) != *r.d.Spec.Replicas {
			return true
		}
	}
	return false
}

// scaleProportionally spreads a change of the Deployment's size over the ReplicaSets that have pods, in proportion
// to their sizes, so that scaling amid a rollout neither stops nor hastens it.
func (r *rollout) scaleProportionally() {
	active := slices.DeleteFunc(slices.Clone(r.all), func(rs *appsv1.ReplicaSet) bool { return *rs.Spec.Replicas == 0 })
	rolling := r.d.Spec.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType
	switch {
	case len(active) == 0 && len(r.all) > 0 && (rolling || r.oldIsGone()):
		r.resize(cmp.Or(r.new, r.all[len(r.all)-1]), *r.d.Spec.Replicas)
	case len(active) == 1:
		r.resize(active[0], *r.d.Spec.Replicas)
	case len(active) > 1 && rolling:
		r.spread(active)
	}
}

func (r *rollout) spread(active []*appsv1.ReplicaSet) {
	allowed := int32(0)
	if *r.d.Spec.Replicas > 0 {
		allowed = *r.d.Spec.Replicas + r.maxSurge()
	}
	left := min(allowed-specSum(active), r.room())
	slices.SortStableFunc(active, func(a, b *appsv1.ReplicaSet) int { // largest first, then newest
		return cmp.Or(cmp.Compare(*b.Spec.Replicas, *a.Spec.Replicas), b.CreationTimestamp.Compare(a.CreationTimestamp.Time))
	})
	targets := make([]int32, len(active))
	for i, rs := range active {
		share := r.share(rs, left, allowed)
		targets[i], left = *rs.Spec.Replicas+share, left-share
	}
	targets[0] = max(0, targets[0]+left) // what rounding left over
	for i, rs := range active {
		r.resize(rs, targets[i])
	}
}

// resize is scaleTo for a ReplicaSet that may have its size already. Planning the same again and again must come to
// an end: a paused Deployment is planned through here each time.
func (r *rollout) resize(rs *appsv1.ReplicaSet, n int32) {
	n = min(n, *rs.Spec.Replicas+r.room())
	sizes := map[string]string{}
	r.setSizes(sizes)
	if *rs.Spec.Replicas != n || rs.Annotations[desiredAnnotation] != sizes[desiredAnnotation] ||
		rs.Annotations[maxAnnotation] != sizes[maxAnnotation] {
		r.scaleTo(rs, n)
	}
}

// share is rs's part of the change, bounded by what is left to hand out.
func (r *rollout) share(rs *appsv1.ReplicaSet, left, allowed int32) int32 {
	was, err := strconv.Atoi(rs.Annotations[maxAnnotation])
	if err != nil || was == 0 {
		return 0
	}
	size := *rs.Spec.Replicas
	n := int32(float64(size)*float64(allowed)/float64(was)+0.5) - size
	if left > 0 {
		return max(0, min(n, left))
	}
	return min(0, max(n, left, -size))
}

// scaleTo sets a ReplicaSet's size and notes for which size of the Deployment that was.
func (r *rollout) scaleTo(rs *appsv1.ReplicaSet, n int32) {
	next := rs.DeepCopy()
	a := with(next.Annotations, desiredAnnotation, "")
	r.setSizes(a)
	next.Annotations = a
	next.Spec.Replicas = &n
	r.Update(replicaSets, next)
	switch was := *rs.Spec.Replicas; {
	case n > was:
		r.recordScale("up", rs.Name, was, n)
	case n < was:
		r.recordScale("down", rs.Name, was, n)
	}
}

func (r *rollout) recordScale(direction, name string, from, to int32) {
	r.Report(resource, r.d, corev1.EventTypeNormal, "ScalingReplicaSet",
		fmt.Sprintf("Scaled %s replica set %s from %d to %d", direction, name, from, to))
}
