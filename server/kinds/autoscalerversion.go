package kinds

import (
	"encoding/json"
	"maps"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

// The annotations in which autoscaling/v1 keeps what it has no fields for. They are Kubernetes', and in its form.
const (
	otherMetrics   = "autoscaling.alpha.kubernetes.io/metrics"
	currentMetrics = "autoscaling.alpha.kubernetes.io/current-metrics"
	conditions     = "autoscaling.alpha.kubernetes.io/conditions"
	behavior       = "autoscaling.alpha.kubernetes.io/behavior"
)

// autoscalerV1 is the older version of the autoscaler, which knows of one metric.
func autoscalerV1(stored *Kind) *Kind {
	gvk := autoscalingv1.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler")
	newBody := func() fsm.Value { return &autoscalingv1.HorizontalPodAutoscaler{} }
	// through lets change work on the stored form of obj.
	through := func(obj fsm.Value, change func(fsm.Value)) {
		in := fromAutoscalerV1(obj).DeepCopyObject().(fsm.Value)
		change(in)
		typed := obj.(*autoscalingv1.HorizontalPodAutoscaler)
		kind := typed.TypeMeta
		*typed = *toAutoscalerV1(in).(*autoscalingv1.HorizontalPodAutoscaler)
		typed.TypeMeta = kind
	}
	return versionOf(stored, toAutoscalerV1, fromAutoscalerV1, Kind{
		GVK:     gvk,
		New:     newBody,
		NewList: func() runtime.Object { return &autoscalingv1.HorizontalPodAutoscalerList{} },
		Default: func(obj fsm.Value) { through(obj, stored.Default) },
		Prepare: func(obj, old fsm.Value) {
			if old != nil {
				old = fromAutoscalerV1(old)
			}
			through(obj, func(in fsm.Value) { stored.Prepare(in, old) })
		},
		Subresources: map[string]Subresource{
			"status": statusOf(gvk, newBody, func(a, body *autoscalingv1.HorizontalPodAutoscaler) (errs field.ErrorList) {
				through(a, func(in fsm.Value) { errs = stored.Subresources["status"].Update(in, fromAutoscalerV1(body)) })
				return errs
			}),
		},
	})
}

func toAutoscalerV1(obj fsm.Value) fsm.Value {
	a := obj.(*autoscalingv2.HorizontalPodAutoscaler)
	shown := &autoscalingv1.HorizontalPodAutoscaler{
		ObjectMeta: a.ObjectMeta,
		Spec: autoscalingv1.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv1.CrossVersionObjectReference(a.Spec.ScaleTargetRef),
			MinReplicas:    a.Spec.MinReplicas, MaxReplicas: a.Spec.MaxReplicas,
		},
		Status: autoscalingv1.HorizontalPodAutoscalerStatus{
			ObservedGeneration: a.Status.ObservedGeneration, LastScaleTime: a.Status.LastScaleTime,
			CurrentReplicas: a.Status.CurrentReplicas, DesiredReplicas: a.Status.DesiredReplicas,
		},
	}
	notes := withoutNotes(a.Annotations)
	var others []autoscalingv1.MetricSpec
	for i := range a.Spec.Metrics {
		switch percent := cpuTarget(&a.Spec.Metrics[i]); {
		case percent == nil:
			others = append(others, metricToV1(&a.Spec.Metrics[i]))
		case shown.Spec.TargetCPUUtilizationPercentage == nil:
			shown.Spec.TargetCPUUtilizationPercentage = percent
		}
	}
	var current []autoscalingv1.MetricStatus
	for i := range a.Status.CurrentMetrics {
		m := &a.Status.CurrentMetrics[i]
		current = append(current, metricStatusToV1(m))
		if m.Resource != nil && m.Resource.Name == corev1.ResourceCPU && m.Resource.Current.AverageUtilization != nil {
			shown.Status.CurrentCPUUtilizationPercentage = m.Resource.Current.AverageUtilization
		}
	}
	note(notes, otherMetrics, others, len(others) > 0)
	note(notes, currentMetrics, current, len(current) > 0)
	note(notes, behavior, a.Spec.Behavior, a.Spec.Behavior != nil)
	note(notes, conditions, a.Status.Conditions, len(a.Status.Conditions) > 0)
	shown.Annotations = orNil(notes)
	return shown
}

func fromAutoscalerV1(obj fsm.Value) fsm.Value {
	a := obj.(*autoscalingv1.HorizontalPodAutoscaler)
	stored := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: a.ObjectMeta,
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference(a.Spec.ScaleTargetRef),
			MinReplicas:    a.Spec.MinReplicas, MaxReplicas: a.Spec.MaxReplicas,
		},
		Status: autoscalingv2.HorizontalPodAutoscalerStatus{
			ObservedGeneration: a.Status.ObservedGeneration, LastScaleTime: a.Status.LastScaleTime,
			CurrentReplicas: a.Status.CurrentReplicas, DesiredReplicas: a.Status.DesiredReplicas,
		},
	}
	var others []autoscalingv1.MetricSpec
	noted(a.Annotations, otherMetrics, &others)
	for i := range others {
		stored.Spec.Metrics = append(stored.Spec.Metrics, metricFromV1(&others[i]))
	}
	if percent := a.Spec.TargetCPUUtilizationPercentage; percent != nil {
		stored.Spec.Metrics = append(stored.Spec.Metrics, utilizationOfCPU(*percent))
	}
	if len(stored.Spec.Metrics) == 0 {
		stored.Spec.Metrics = []autoscalingv2.MetricSpec{utilizationOfCPU(defaultUtilization)}
	}
	var rules autoscalingv2.HorizontalPodAutoscalerBehavior
	if noted(a.Annotations, behavior, &rules) && rules != (autoscalingv2.HorizontalPodAutoscalerBehavior{}) {
		stored.Spec.Behavior = &rules
	}
	stored.Status.CurrentMetrics = currentFromV1(a)
	noted(a.Annotations, conditions, &stored.Status.Conditions)
	stored.Annotations = orNil(withoutNotes(a.Annotations))
	return stored
}

// currentFromV1 prefers the annotation, which says more than the field.
func currentFromV1(a *autoscalingv1.HorizontalPodAutoscaler) []autoscalingv2.MetricStatus {
	var current []autoscalingv1.MetricStatus
	if noted(a.Annotations, currentMetrics, &current) {
		statuses := make([]autoscalingv2.MetricStatus, len(current))
		for i := range current {
			statuses[i] = metricStatusFromV1(&current[i])
		}
		return statuses
	}
	if a.Status.CurrentCPUUtilizationPercentage == nil {
		return nil
	}
	return []autoscalingv2.MetricStatus{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricStatus{
		Name:    corev1.ResourceCPU,
		Current: autoscalingv2.MetricValueStatus{AverageUtilization: a.Status.CurrentCPUUtilizationPercentage},
	}}}
}

// cpuTarget is the percentage of a metric that autoscaling/v1 has a field for, or nil.
func cpuTarget(m *autoscalingv2.MetricSpec) *int32 {
	if m.Type != autoscalingv2.ResourceMetricSourceType || m.Resource == nil || m.Resource.Name != corev1.ResourceCPU {
		return nil
	}
	return m.Resource.Target.AverageUtilization
}

func withoutNotes(annotations map[string]string) map[string]string {
	rest := maps.Clone(annotations)
	for _, key := range []string{otherMetrics, currentMetrics, conditions, behavior} {
		delete(rest, key)
	}
	if rest == nil {
		rest = map[string]string{}
	}
	return rest
}

func orNil(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

func note(annotations map[string]string, key string, value any, said bool) {
	if !said {
		return
	}
	if text, err := json.Marshal(value); err == nil { // these types are made of plain values: it cannot fail
		annotations[key] = string(text)
	}
}

// noted reports whether the annotation could be read; one that cannot is ignored, as by Kubernetes.
func noted(annotations map[string]string, key string, value any) bool {
	text, found := annotations[key]
	return found && json.Unmarshal([]byte(text), value) == nil
}
