package kinds

import (
	"fmt"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

// defaultUtilization is the share of the processors, in percent, that pods are to use unless something else is said.
const defaultUtilization int32 = 80

func horizontalPodAutoscaler() *Kind {
	gvk := autoscalingv2.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler")
	newBody := func() fsm.Value { return &autoscalingv2.HorizontalPodAutoscaler{} }
	spec, status := autoscalingv2.HorizontalPodAutoscalerSpec{}.SwaggerDoc(), autoscalingv2.HorizontalPodAutoscalerStatus{}.SwaggerDoc()
	return &Kind{
		GVK:      gvk,
		Resource: "horizontalpodautoscalers", Singular: "horizontalpodautoscaler", ShortNames: []string{"hpa"}, Categories: []string{"all"},
		Namespaced: true,
		New:        newBody,
		NewList:    func() runtime.Object { return &autoscalingv2.HorizontalPodAutoscalerList{} },
		Default:    defaultAutoscaler,
		Prepare: specified[*autoscalingv2.HorizontalPodAutoscaler]{
			spec: func(a *autoscalingv2.HorizontalPodAutoscaler) any { return &a.Spec },
			start: func(a *autoscalingv2.HorizontalPodAutoscaler) {
				a.Status = autoscalingv2.HorizontalPodAutoscalerStatus{}
			},
			keep: func(a, old *autoscalingv2.HorizontalPodAutoscaler) { a.Status = old.Status },
		}.prepare,
		Validate:       validateAutoscaler,
		ValidateCreate: validateScaleTarget,
		ValidateUpdate: func(obj, old fsm.Value) field.ErrorList {
			now, was := obj.(*autoscalingv2.HorizontalPodAutoscaler).Spec.ScaleTargetRef, old.(*autoscalingv2.HorizontalPodAutoscaler).Spec.ScaleTargetRef
			if now.Kind == was.Kind && now.APIVersion == was.APIVersion {
				return nil
			}
			return validateScaleTarget(obj)
		},
		Subresources: map[string]Subresource{"status": statusOf(gvk, newBody, takeAutoscalerStatus)},
		Columns: []metav1.TableColumnDefinition{
			column("Reference", "string", spec["scaleTargetRef"]),
			column("Targets", "string", spec["metrics"]),
			column("MinPods", "string", spec["minReplicas"]),
			column("MaxPods", "string", spec["maxReplicas"]),
			column("Replicas", "string", status["currentReplicas"]),
			ageColumn(),
		},
		Cells: autoscalerCells,
	}
}

func defaultAutoscaler(obj fsm.Value) {
	spec := &obj.(*autoscalingv2.HorizontalPodAutoscaler).Spec
	setPointer(&spec.MinReplicas, 1)
	if len(spec.Metrics) == 0 {
		spec.Metrics = []autoscalingv2.MetricSpec{utilizationOfCPU(defaultUtilization)}
	}
	if spec.Behavior == nil {
		return
	}
	setPointer(&spec.Behavior.ScaleUp, autoscalingv2.HPAScalingRules{})
	setPointer(&spec.Behavior.ScaleDown, autoscalingv2.HPAScalingRules{})
	const period = 15
	all := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: period}
	four := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: period}
	defaultScaling(spec.Behavior.ScaleUp, four, all)
	setPointer(&spec.Behavior.ScaleUp.StabilizationWindowSeconds, 0)
	defaultScaling(spec.Behavior.ScaleDown, all)
}

func defaultScaling(rules *autoscalingv2.HPAScalingRules, policies ...autoscalingv2.HPAScalingPolicy) {
	setPointer(&rules.SelectPolicy, autoscalingv2.MaxChangePolicySelect)
	if rules.Policies == nil {
		rules.Policies = policies
	}
}

func utilizationOfCPU(percent int32) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{
		Type: autoscalingv2.ResourceMetricSourceType,
		Resource: &autoscalingv2.ResourceMetricSource{
			Name:   corev1.ResourceCPU,
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent},
		},
	}
}

func takeAutoscalerStatus(a, body *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
	a.Status = body.Status
	path := field.NewPath("status")
	var errs field.ErrorList
	for i, c := range a.Status.Conditions {
		if c.ObservedGeneration != nil {
			errs = append(errs, apivalidation.ValidateNonnegativeField(*c.ObservedGeneration,
				path.Child("conditions").Index(i).Child("observedGeneration"))...)
		}
	}
	return append(errs, nonNegative(count{path.Child("currentReplicas"), a.Status.CurrentReplicas},
		count{path.Child("desiredReplicas"), a.Status.DesiredReplicas})...)
}

func autoscalerCells(obj fsm.Value, now time.Time) []any {
	a := obj.(*autoscalingv2.HorizontalPodAutoscaler)
	least := unset
	if a.Spec.MinReplicas != nil {
		least = fmt.Sprint(*a.Spec.MinReplicas)
	}
	return []any{
		a.Spec.ScaleTargetRef.Kind + "/" + a.Spec.ScaleTargetRef.Name, metricsCell(a.Spec.Metrics, a.Status.CurrentMetrics),
		least, int64(a.Spec.MaxReplicas), int64(a.Status.CurrentReplicas), age(obj, now),
	}
}

// maxMetricsShown is how many metrics a table's cell lists before it only counts them.
const maxMetricsShown = 2

func metricsCell(metrics []autoscalingv2.MetricSpec, current []autoscalingv2.MetricStatus) string {
	if len(metrics) == 0 {
		return none
	}
	texts := make([]string, len(metrics))
	for i, m := range metrics {
		var status autoscalingv2.MetricStatus
		if i < len(current) {
			status = current[i]
		}
		texts[i] = metricText(m, status)
	}
	if len(texts) > maxMetricsShown {
		return fmt.Sprintf("%s + %d more...", strings.Join(texts[:maxMetricsShown], ", "), len(texts)-maxMetricsShown)
	}
	return strings.Join(texts, ", ")
}

// metricText shows one metric as "what: current/target"; what is empty but for resources.
func metricText(m autoscalingv2.MetricSpec, s autoscalingv2.MetricStatus) string {
	var current autoscalingv2.MetricValueStatus
	switch {
	case m.Type == autoscalingv2.ExternalMetricSourceType && m.External != nil:
		if s.External != nil {
			current = s.External.Current
		}
		return valueText(m.External.Target, current)
	case m.Type == autoscalingv2.ObjectMetricSourceType && m.Object != nil:
		if s.Object != nil {
			current = s.Object.Current
		}
		return valueText(m.Object.Target, current)
	case m.Type == autoscalingv2.PodsMetricSourceType && m.Pods != nil:
		if s.Pods != nil {
			current = s.Pods.Current
		}
		return quantityText(current.AverageValue) + "/" + quantityText(m.Pods.Target.AverageValue)
	case m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil:
		if s.Resource != nil {
			current = s.Resource.Current
		}
		return string(m.Resource.Name) + ": " + shareText(m.Resource.Target, current)
	case m.Type == autoscalingv2.ContainerResourceMetricSourceType && m.ContainerResource != nil:
		if s.ContainerResource != nil {
			current = s.ContainerResource.Current
		}
		return string(m.ContainerResource.Name) + ": " + shareText(m.ContainerResource.Target, current)
	}
	return "<unknown type>"
}

func valueText(target autoscalingv2.MetricTarget, current autoscalingv2.MetricValueStatus) string {
	if target.AverageValue != nil {
		return quantityText(current.AverageValue) + "/" + quantityText(target.AverageValue) + " (avg)"
	}
	return quantityText(current.Value) + "/" + quantityText(target.Value)
}

func shareText(target autoscalingv2.MetricTarget, current autoscalingv2.MetricValueStatus) string {
	if target.AverageValue != nil {
		return quantityText(current.AverageValue) + "/" + quantityText(target.AverageValue)
	}
	return percentText(current.AverageUtilization, unknown) + "/" + percentText(target.AverageUtilization, "<auto>")
}

func percentText(percent *int32, without string) string {
	if percent == nil {
		return without
	}
	return fmt.Sprintf("%d%%", *percent)
}

func quantityText(q *resource.Quantity) string {
	if q == nil {
		return unknown
	}
	return q.String()
}
