package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"
)

// DefaultTolerations returns the step that bounds how long a new pod stays on a node that is lost: for seconds, unless
// the pod says something about these taints itself. (Kubernetes' DefaultTolerationSeconds.)
func DefaultTolerations(seconds int64) Step {
	return func(_ context.Context, a *Attributes) error {
		pod, ok := a.Object.(*corev1.Pod)
		if !ok || a.Operation != Create || a.Subresource != "" {
			return nil
		}
		for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
			if !tolerates(pod, key) {
				s := seconds
				pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{
					Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &s,
				})
			}
		}
		return nil
	}
}

// tolerates reports whether the pod has a toleration that covers the NoExecute taint key.
func tolerates(pod *corev1.Pod, key string) bool {
	for _, t := range pod.Spec.Tolerations {
		if (t.Key == key || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "") {
			return true
		}
	}
	return false
}
