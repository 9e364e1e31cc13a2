package deployment

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/holt-project/holt/fsm"
)

// The annotations and the label that Kubernetes' clients read.
const (
	revisionAnnotation = "deployment.kubernetes.io/revision"
	historyAnnotation  = "deployment.kubernetes.io/revision-history"
	desiredAnnotation  = "deployment.kubernetes.io/desired-replicas"
	maxAnnotation      = "deployment.kubernetes.io/max-replicas"
	hashLabel          = appsv1.DefaultDeploymentUniqueLabelKey
	lastApplied        = corev1.LastAppliedConfigAnnotation
)

// sameTemplate compares templates without the label that tells ReplicaSets apart.
func sameTemplate(a, b *corev1.PodTemplateSpec) bool {
	a, b = a.DeepCopy(), b.DeepCopy()
	delete(a.Labels, hashLabel)
	delete(b.Labels, hashLabel)
	return equality.Semantic.DeepEqual(a, b)
}

// templateHash names a template; collisions makes another name for the same one.
func templateHash(t *corev1.PodTemplateSpec, collisions int32) string {
	h := fnv.New32a()
	data, err := json.Marshal(t)
	if err != nil {
		data = []byte(t.String()) // a template came out of JSON; this cannot happen
	}
	h.Write(data)
	fmt.Fprint(h, collisions)
	return rand.SafeEncodeString(strconv.FormatUint(uint64(h.Sum32()), 10))
}

func revision(rs *appsv1.ReplicaSet) int64 {
	n, err := strconv.ParseInt(rs.Annotations[revisionAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (r *rollout) nextRevision() int64 {
	var highest int64
	for _, rs := range r.old {
		highest = max(highest, revision(rs))
	}
	return highest + 1
}

// createNew makes the ReplicaSet of the present template.
func (r *rollout) createNew(ref metav1.OwnerReference) {
	var collisions int32
	if r.d.Status.CollisionCount != nil {
		collisions = *r.d.Status.CollisionCount
	}
	hash := templateHash(&r.d.Spec.Template, collisions)
	name := r.d.Name + "-" + hash
	if _, taken := r.view.Get(fsm.Key{Resource: replicaSets, Namespace: r.d.Namespace, Name: name}); taken {
		r.countCollision(collisions) // another template with the same hash, or somebody else's ReplicaSet
		return
	}
	template := *r.d.Spec.Template.DeepCopy()
	template.Labels = with(template.Labels, hashLabel, hash)
	selector := r.d.Spec.Selector.DeepCopy()
	selector.MatchLabels = with(selector.MatchLabels, hashLabel, hash)
	replicas := r.newReplicas(0)
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: r.d.Namespace, Labels: template.Labels,
			Annotations:     r.annotations(nil, r.nextRevision()),
			OwnerReferences: []metav1.OwnerReference{ref},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: &replicas, MinReadySeconds: r.d.Spec.MinReadySeconds, Selector: selector, Template: template,
		},
	}
	r.Create(replicaSets, rs)
	r.recordScale("up", rs.Name, 0, replicas)
}

func (r *rollout) countCollision(collisions int32) {
	d := r.d.DeepCopy()
	collisions++
	d.Status.CollisionCount = &collisions
	r.UpdateStatus(resource, d)
}

func with(m map[string]string, key, value string) map[string]string {
	m = maps.Clone(m)
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}

// annotations are those of the new ReplicaSet: the Deployment's own, the revision, and the sizes by which a later
// change of the Deployment's scale is told from a rollout. present are the ReplicaSet's as it is.
func (r *rollout) annotations(present map[string]string, rev int64) map[string]string {
	a := maps.Clone(present)
	if a == nil {
		a = map[string]string{}
	}
	for k, v := range r.d.Annotations {
		if k != lastApplied && !strings.HasPrefix(k, "deployment.kubernetes.io/") {
			a[k] = v
		}
	}
	if was := a[revisionAnnotation]; was != "" && was != strconv.FormatInt(rev, 10) {
		history := strings.Split(a[historyAnnotation], ",")
		if !slices.Contains(history, was) {
			a[historyAnnotation] = strings.Trim(a[historyAnnotation]+","+was, ",")
		}
	}
	a[revisionAnnotation] = strconv.FormatInt(rev, 10)
	r.setSizes(a)
	return a
}

func (r *rollout) setSizes(a map[string]string) {
	a[desiredAnnotation] = strconv.Itoa(int(*r.d.Spec.Replicas))
	a[maxAnnotation] = strconv.Itoa(int(*r.d.Spec.Replicas + r.maxSurge()))
}

// keepRevision brings the annotations of ReplicaSet and Deployment up to date and reports whether it had to. A
// rollback makes an old ReplicaSet the new one: it gets the next revision.
func (r *rollout) keepRevision() bool {
	rev := max(revision(r.new), r.nextRevision())
	changed := false
	want := r.annotations(r.new.Annotations, rev)
	want[desiredAnnotation], want[maxAnnotation] = r.new.Annotations[desiredAnnotation], r.new.Annotations[maxAnnotation]
	if want[desiredAnnotation] == "" {
		r.setSizes(want) // an adopted ReplicaSet has none yet
	}
	if !maps.Equal(want, r.new.Annotations) || r.new.Spec.MinReadySeconds != r.d.Spec.MinReadySeconds {
		rs := r.new.DeepCopy()
		rs.Annotations, rs.Spec.MinReadySeconds = want, r.d.Spec.MinReadySeconds
		r.Update(replicaSets, rs)
		changed = true
	}
	if text := strconv.FormatInt(rev, 10); r.d.Annotations[revisionAnnotation] != text {
		d := r.d.DeepCopy()
		d.Annotations = with(d.Annotations, revisionAnnotation, text)
		r.Update(resource, d)
		changed = true
	}
	return changed
}

// cleanUp removes the oldest revisions that hold no pods, beyond the limit, once the rollout is done.
func (r *rollout) cleanUp() {
	if !r.complete() || r.d.Spec.RevisionHistoryLimit == nil {
		return
	}
	var idle []*appsv1.ReplicaSet
	for _, rs := range r.old {
		if rs.Status.Replicas == 0 && *rs.Spec.Replicas == 0 && rs.Generation <= rs.Status.ObservedGeneration &&
			rs.DeletionTimestamp == nil {
			idle = append(idle, rs)
		}
	}
	slices.SortStableFunc(idle, func(a, b *appsv1.ReplicaSet) int { return int(revision(a) - revision(b)) })
	for i := 0; i < len(idle)-int(*r.d.Spec.RevisionHistoryLimit); i++ {
		r.Delete(replicaSets, idle[i])
	}
}
