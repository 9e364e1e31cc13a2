package replicaset

import (
	"cmp"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers/podutil"
	"github.com/holt-project/holt/server/kinds"
)

// deletionCost is the annotation by which a user ranks pods (KEP-2255).
const deletionCost = "controller.kubernetes.io/pod-deletion-cost"

// victims orders pods so that those come first whose loss hurts least: not yet placed, not running, not ready, of low
// deletion cost, on a node with more siblings, ready for a shorter time, restarted more often, younger.
func victims(v fsm.View, rs *appsv1.ReplicaSet, active []*corev1.Pod) []*corev1.Pod {
	perNode := siblings(v, rs)
	return slices.SortedStableFunc(slices.Values(active), func(a, b *corev1.Pod) int {
		return cmp.Or(
			falseFirst(a.Spec.NodeName != "", b.Spec.NodeName != ""),
			cmp.Compare(phaseRank(a), phaseRank(b)),
			falseFirst(podutil.Ready(a), podutil.Ready(b)),
			cmp.Compare(cost(a), cost(b)),
			cmp.Compare(perNode[b.Spec.NodeName], perNode[a.Spec.NodeName]),
			laterFirst(readySince(a), readySince(b)),
			cmp.Compare(restarts(b), restarts(a)),
			laterFirst(a.CreationTimestamp, b.CreationTimestamp),
			cmp.Compare(a.Name, b.Name),
		)
	})
}

// siblings counts by node the active pods of all ReplicaSets of rs's owner, so that scaling down a new ReplicaSet
// does not empty a node that the old one has left already.
func siblings(v fsm.View, rs *appsv1.ReplicaSet) map[string]int {
	uids := []string{string(rs.UID)}
	if ref := metav1.GetControllerOfNoCopy(rs); ref != nil {
		for o := range v.ByIndex("", kinds.ByOwner, string(ref.UID)) {
			if o.Resource == resource && o.Value.GetUID() != rs.UID {
				uids = append(uids, string(o.Value.GetUID()))
			}
		}
	}
	perNode := map[string]int{}
	for _, uid := range uids {
		for o := range v.ByIndex("", kinds.ByOwner, uid) {
			if pod, ok := o.Value.(*corev1.Pod); ok && podutil.Active(pod) {
				perNode[pod.Spec.NodeName]++
			}
		}
	}
	return perNode
}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func phaseRank(p *corev1.Pod) int {
	switch p.Status.Phase {
	case corev1.PodRunning:
		return 2
	case corev1.PodUnknown:
		return 1
	}
	return 0
}

func cost(p *corev1.Pod) int64 {
	n, err := strconv.ParseInt(p.Annotations[deletionCost], 10, 32)
	if err != nil {
		return 0
	}
	return n
}

func readySince(p *corev1.Pod) metav1.Time {
	if c := podutil.Condition(p, corev1.PodReady); c != nil && c.Status == corev1.ConditionTrue {
		return c.LastTransitionTime
	}
	return metav1.Time{}
}

func laterFirst(a, b metav1.Time) int { return b.Time.Compare(a.Time) }

func restarts(p *corev1.Pod) int32 {
	var most int32
	for _, c := range p.Status.ContainerStatuses {
		most = max(most, c.RestartCount)
	}
	return most
}
