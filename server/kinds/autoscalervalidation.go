package kinds

import (
	"errors"
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

// The longest times, in seconds, that an autoscaler may look back on.
const maxScalingPeriod, maxStabilization = 1800, 3600

func validateAutoscaler(obj fsm.Value) field.ErrorList {
	spec, path := &obj.(*autoscalingv2.HorizontalPodAutoscaler).Spec, field.NewPath("spec")
	errs := nonNegative(count{path.Child("minReplicas"), valueOf(spec.MinReplicas)})
	most := path.Child("maxReplicas")
	switch {
	case spec.MaxReplicas == 0:
		errs = append(errs, field.Required(most, "must be set and greater than 0"))
	case spec.MaxReplicas < 0:
		errs = append(errs, field.Invalid(most, spec.MaxReplicas, "must be greater than or equal to 1"))
	}
	if spec.MinReplicas != nil && spec.MaxReplicas < *spec.MinReplicas {
		errs = append(errs, field.Invalid(most, spec.MaxReplicas, "must be greater than or equal to `minReplicas`"))
	}
	errs = append(errs, validateReference(spec.ScaleTargetRef, path.Child("scaleTargetRef"))...)
	fromOutside := false
	for i := range spec.Metrics {
		m := &spec.Metrics[i]
		errs = append(errs, validateMetric(m, path.Child("metrics").Index(i))...)
		fromOutside = fromOutside || m.Type == autoscalingv2.ObjectMetricSourceType || m.Type == autoscalingv2.ExternalMetricSourceType
	}
	if spec.MinReplicas != nil && *spec.MinReplicas == 0 && !fromOutside { // no pod, nothing to measure
		errs = append(errs, field.Forbidden(path.Child("metrics"),
			"must specify at least one Object or External metric to support scaling to zero replicas"))
	}
	if b := spec.Behavior; b != nil {
		errs = append(errs, validateScaling(b.ScaleUp, path.Child("behavior", "scaleUp"))...)
		errs = append(errs, validateScaling(b.ScaleDown, path.Child("behavior", "scaleDown"))...)
	}
	return errs
}

// validateScaleTarget wants the group of what is scaled: kinds of the same name are in several. Only replication
// controllers have none.
func validateScaleTarget(obj fsm.Value) field.ErrorList {
	ref := obj.(*autoscalingv2.HorizontalPodAutoscaler).Spec.ScaleTargetRef
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err == nil && gv.Group == "" && ref.Kind != "ReplicationController" {
		err = errors.New("apiVersion must specify API group")
	}
	if err == nil {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("spec", "scaleTargetRef", "apiVersion"), ref.APIVersion, err.Error())}
}

func validateReference(ref autoscalingv2.CrossVersionObjectReference, path *field.Path) field.ErrorList {
	return append(requireSegment(ref.Kind, path.Child("kind"), ""), requireSegment(ref.Name, path.Child("name"), "")...)
}

// requireSegment checks what becomes a part of a URL.
func requireSegment(text string, path *field.Path, missing string) field.ErrorList {
	if text == "" {
		return field.ErrorList{field.Required(path, missing)}
	}
	return invalid(path, text, content.IsPathSegmentName(text))
}

func validateMetric(m *autoscalingv2.MetricSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if m.Type == "" {
		errs = append(errs, field.Required(path.Child("type"), "must specify a metric source type"))
	}
	errs = append(errs, oneOf(path.Child("type"), m.Type, autoscalingv2.ContainerResourceMetricSourceType,
		autoscalingv2.ExternalMetricSourceType, autoscalingv2.ObjectMetricSourceType, autoscalingv2.PodsMetricSourceType,
		autoscalingv2.ResourceMetricSourceType)...)
	present := 0
	sources := metricSources(m)
	for _, s := range sources {
		if !s.present {
			continue
		}
		if present++; present == 1 {
			errs = append(errs, s.validate(path.Child(s.name))...)
		}
	}
	for _, s := range sources {
		switch {
		case s.of == m.Type && !s.present:
			errs = append(errs, field.Required(path.Child(s.name), "must populate information for the given metric source"))
		case s.of != m.Type && s.present && present > 1:
			errs = append(errs, field.Forbidden(path.Child(s.name), "must populate the given metric source only"))
		}
	}
	return errs
}

// metricSource is one of the places that a metric may come from.
type metricSource struct {
	of       autoscalingv2.MetricSourceType
	name     string
	present  bool
	validate func(*field.Path) field.ErrorList
}

func metricSources(m *autoscalingv2.MetricSpec) []metricSource {
	return []metricSource{
		{autoscalingv2.ObjectMetricSourceType, "object", m.Object != nil, func(at *field.Path) field.ErrorList {
			errs := validateReference(m.Object.DescribedObject, at.Child("describedObject"))
			if _, err := schema.ParseGroupVersion(m.Object.DescribedObject.APIVersion); err != nil {
				errs = append(errs, field.Invalid(at.Child("describedObject", "apiVersion"), m.Object.DescribedObject.APIVersion, err.Error()))
			}
			errs = append(errs, validateMetricTarget(m.Object.Metric.Name, &m.Object.Target, at)...)
			return append(errs, requireValue(&m.Object.Target, "must set either a target value or averageValue", at)...)
		}},
		{autoscalingv2.ExternalMetricSourceType, "external", m.External != nil, func(at *field.Path) field.ErrorList {
			target := &m.External.Target
			errs := validateMetricTarget(m.External.Metric.Name, target, at)
			errs = append(errs, requireValue(target, "must set either a target value for metric or a per-pod target", at)...)
			if target.Value != nil && target.AverageValue != nil {
				errs = append(errs, field.Forbidden(at.Child("target", "value"), "may not set both a target value for metric and a per-pod target"))
			}
			return errs
		}},
		{autoscalingv2.PodsMetricSourceType, "pods", m.Pods != nil, func(at *field.Path) field.ErrorList {
			errs := validateMetricTarget(m.Pods.Metric.Name, &m.Pods.Target, at)
			if m.Pods.Target.AverageValue == nil {
				errs = append(errs, field.Required(at.Child("target", "averageValue"), "must specify a positive target averageValue"))
			}
			return errs
		}},
		{autoscalingv2.ResourceMetricSourceType, "resource", m.Resource != nil, func(at *field.Path) field.ErrorList {
			var errs field.ErrorList
			if m.Resource.Name == "" {
				errs = append(errs, field.Required(at.Child("name"), "must specify a resource name"))
			}
			return append(errs, validateResourceTarget(&m.Resource.Target, at.Child("target"))...)
		}},
		{autoscalingv2.ContainerResourceMetricSourceType, "containerResource", m.ContainerResource != nil, func(at *field.Path) field.ErrorList {
			return validateContainerMetric(m.ContainerResource, at)
		}},
	}
}

func validateContainerMetric(s *autoscalingv2.ContainerResourceMetricSource, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Name == "" {
		errs = append(errs, field.Required(at.Child("name"), "must specify a resource name"))
	} else {
		errs = append(errs, podspec.ValidateResourceName(s.Name, at.Child("name"))...)
	}
	if s.Container == "" {
		errs = append(errs, field.Required(at.Child("container"), "must specify a container"))
	} else {
		errs = append(errs, invalid(at.Child("container"), s.Container, validation.IsDNS1123Label(s.Container))...)
	}
	return append(errs, validateResourceTarget(&s.Target, at.Child("target"))...)
}

func requireValue(t *autoscalingv2.MetricTarget, message string, source *field.Path) field.ErrorList {
	if t.Value != nil || t.AverageValue != nil {
		return nil
	}
	return field.ErrorList{field.Required(source.Child("target", "averageValue"), message)}
}

func validateMetricTarget(metric string, t *autoscalingv2.MetricTarget, source *field.Path) field.ErrorList {
	return append(requireSegment(metric, source.Child("metric", "name"), "must specify a metric name"),
		validateTarget(t, source.Child("target"))...)
}

func validateTarget(t *autoscalingv2.MetricTarget, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch t.Type {
	case autoscalingv2.UtilizationMetricType, autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType:
	case "":
		errs = append(errs, field.Required(path.Child("type"), "must specify a metric target type"))
		fallthrough
	default:
		errs = append(errs, field.Invalid(path.Child("type"), t.Type, "must be either Utilization, Value, or AverageValue"))
	}
	if t.Value != nil && t.Value.Sign() <= 0 {
		errs = append(errs, field.Invalid(path.Child("value"), t.Value, "must be positive"))
	}
	if t.AverageValue != nil && t.AverageValue.Sign() <= 0 {
		errs = append(errs, field.Invalid(path.Child("averageValue"), t.AverageValue, "must be positive"))
	}
	if t.AverageUtilization != nil && *t.AverageUtilization < 1 {
		errs = append(errs, field.Invalid(path.Child("averageUtilization"), t.AverageUtilization, "must be greater than 0"))
	}
	return errs
}

func validateResourceTarget(t *autoscalingv2.MetricTarget, path *field.Path) field.ErrorList {
	errs := validateTarget(t, path)
	switch {
	case t.AverageUtilization == nil && t.AverageValue == nil:
		errs = append(errs, field.Required(path.Child("averageUtilization"), "must set either a target raw value or a target utilization"))
	case t.AverageUtilization != nil && t.AverageValue != nil:
		errs = append(errs, field.Forbidden(path.Child("averageValue"), "may not set both a target raw value and a target utilization"))
	}
	return errs
}

func validateScaling(rules *autoscalingv2.HPAScalingRules, path *field.Path) field.ErrorList {
	if rules == nil {
		return nil
	}
	var errs field.ErrorList
	window := path.Child("stabilizationWindowSeconds")
	switch seconds := rules.StabilizationWindowSeconds; {
	case seconds == nil:
	case *seconds < 0:
		errs = append(errs, field.Invalid(window, *seconds, "must be greater than or equal to zero"))
	case *seconds > maxStabilization:
		errs = append(errs, field.Invalid(window, *seconds, fmt.Sprintf("must be less than or equal to %v", maxStabilization)))
	}
	if rules.SelectPolicy != nil {
		errs = append(errs, oneOf(path.Child("selectPolicy"), *rules.SelectPolicy, autoscalingv2.DisabledPolicySelect,
			autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect)...)
	}
	if len(rules.Policies) == 0 {
		errs = append(errs, field.Required(path.Child("policies"), "must specify at least one Policy"))
	}
	for i, p := range rules.Policies {
		at := path.Child("policies").Index(i)
		errs = append(errs, oneOf(at.Child("type"), p.Type, autoscalingv2.PercentScalingPolicy, autoscalingv2.PodsScalingPolicy)...)
		if p.Value <= 0 {
			errs = append(errs, field.Invalid(at.Child("value"), p.Value, "must be greater than zero"))
		}
		switch seconds := at.Child("periodSeconds"); {
		case p.PeriodSeconds <= 0:
			errs = append(errs, field.Invalid(seconds, p.PeriodSeconds, "must be greater than zero"))
		case p.PeriodSeconds > maxScalingPeriod:
			errs = append(errs, field.Invalid(seconds, p.PeriodSeconds, fmt.Sprintf("must be less than or equal to %v", maxScalingPeriod)))
		}
	}
	if rules.Tolerance != nil && rules.Tolerance.Sign() < 0 {
		errs = append(errs, field.Invalid(path.Child("tolerance"), rules.Tolerance.String(), "must be greater than or equal to 0"))
	}
	return errs
}
