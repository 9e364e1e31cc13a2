package kinds_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

// eachVersion runs a test for every kind that is another version of a stored one.
func eachVersion(t *testing.T, test func(t *testing.T, k *kinds.Kind)) {
	t.Helper()
	for _, k := range kinds.Builtin().Served() {
		if k.Version != nil {
			t.Run(k.GVK.GroupVersion().String()+" "+k.GVK.Kind, func(t *testing.T) { test(t, k) })
		}
	}
}

func served(t *testing.T, group, version, kind string) *kinds.Kind {
	t.Helper()
	k := kinds.Builtin().ByKind(schema.GroupVersionKind{Group: group, Version: version, Kind: kind})
	if k == nil {
		t.Fatalf("no %s in %s/%s", kind, group, version)
	}
	return k
}

// What a version makes of a stored object, it stores again as what it can say of it; from then on nothing is lost.
func TestVersionsKeepWhatTheySay(t *testing.T) {
	eachVersion(t, func(t *testing.T, k *kinds.Kind) {
		for seed := range int64(100) {
			stored := k.Stored().New()
			filler(seed).Fill(stored)
			applyDefaults(k.Stored(), stored)
			before := stored.DeepCopyObject().(fsm.Value)
			shown := k.Version.From(stored)
			if diff := cmp.Diff(before, stored); diff != "" {
				t.Fatalf("seed %d: the stored object was changed: %s", seed, diff)
			}
			untouched := shown.DeepCopyObject().(fsm.Value)
			again := k.Version.From(k.Version.To(shown))
			if diff := cmp.Diff(untouched, shown); diff != "" {
				t.Fatalf("seed %d: the shown object was changed: %s", seed, diff)
			}
			if !equality.Semantic.DeepEqual(shown, again) {
				t.Fatalf("seed %d: %s", seed, cmp.Diff(shown, again))
			}
		}
	})
}

func TestVersionsAreStoredAsTheirKind(t *testing.T) {
	eachVersion(t, func(t *testing.T, k *kinds.Kind) {
		if key, want := k.Key("ns", "a"), k.Stored().Key("ns", "a"); key != want {
			t.Errorf("kept under %s, not %s", key, want)
		}
		obj := k.New()
		filler(1).Fill(obj)
		obj.SetResourceVersion("")
		raw, err := k.Encode(obj)
		if err != nil {
			t.Fatal(err)
		}
		back, err := k.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := back.GetObjectKind().GroupVersionKind(); got != k.GVK {
			t.Errorf("decoded as %s", got)
		}
		stored, err := k.Stored().Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		shown := k.Shown(&fsm.Object{Key: k.Key("ns", "a"), Revision: 7, Value: stored})
		if shown.Revision != 7 || !equality.Semantic.DeepEqual(shown.Value, back) {
			t.Error(cmp.Diff(back, shown.Value))
		}
		if k.Shown(shown) != shown || k.Stored().Shown(shown) != shown {
			t.Error("it was converted twice")
		}
		if len(k.Cells(obj, time.Now())) != len(k.Columns) || len(k.NewList().GetObjectKind().GroupVersionKind().Kind) > 0 {
			t.Error("incomplete")
		}
	})
}

func TestVersionsDefaultAndPrepareWithoutPanic(t *testing.T) {
	eachVersion(t, func(t *testing.T, k *kinds.Kind) {
		for seed := range int64(50) {
			obj, old := k.New(), k.New()
			filler(seed).Fill(obj)
			filler(-seed).Fill(old)
			applyDefaults(k, obj)
			again := obj.DeepCopyObject().(fsm.Value)
			applyDefaults(k, again)
			if !equality.Semantic.DeepEqual(obj, again) {
				t.Fatalf("seed %d: %s", seed, cmp.Diff(obj, again))
			}
			problems(k, obj)
			newProblems(k, obj)
			k.ValidateUpdate(obj, old)
			if k.Prepare != nil {
				k.Prepare(obj, old)
				k.Prepare(obj, nil)
			}
		}
	})
}

func TestEventsOfBothGroups(t *testing.T) {
	const form = `eventTime: "2030-01-01T00:00:00.000000Z", reason: Pulled, type: Normal, action: Pull, reportingInstance: n1, `
	judge(t, []judged{
		{"older form", "events", `{metadata: {namespace: a}, involvedObject: {namespace: a, kind: Pod, name: p}}`, nil},
		{"newer form", "events", `{metadata: {namespace: a}, ` + form + `reportingComponent: agent, involvedObject: {namespace: a}}`, nil},
		{"incomplete", "events", `{metadata: {namespace: a}, eventTime: "2030-01-01T00:00:00.000000Z"}`,
			[]string{`involvedObject.namespace: Invalid value: "": does not match event.namespace`, "reportingComponent: Required value",
				`reportingComponent: Invalid value: "": name part must be non-empty`,
				`reportingComponent: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
				"reportingInstance: Required value", "action: Required value", "reason: Required value"}},
		{"long", "events", `{metadata: {namespace: a}, ` + form + `reportingComponent: agent, involvedObject: {namespace: a}, message: "` + strings.Repeat("x", 1025) + `"}`,
			[]string{`message: Invalid value: "": can have at most 1024 characters`}},
	})
	k := served(t, "events.k8s.io", "v1", "Event")
	judged := func(manifest string) []string {
		obj := parse(t, k, manifest)
		return append(problems(k, obj), newProblems(k, obj)...)
	}
	sameProblems(t, judged(`{metadata: {namespace: a}, `+form+`reportingController: agent, regarding: {namespace: a}}`))
	sameProblems(t, judged(`{metadata: {namespace: a}, regarding: {namespace: a}, deprecatedCount: 1, deprecatedSource: {host: a}, series: {count: 1}}`),
		`series.count: Invalid value: "": should be at least 2`, "series.lastObservedTime: Required value", "eventTime: Required value",
		`type: Invalid value: "": has invalid value: `, `count: Invalid value: "": needs to be unset`, `source: Invalid value: "": needs to be unset`)
	old := parse(t, k, `{note: a, series: {count: 2, lastObservedTime: "2030-01-01T00:00:00.000000Z"}}`)
	again := parse(t, k, `{note: a, series: {count: 3, lastObservedTime: "2030-01-01T00:00:00.000000Z"}}`)
	other := parse(t, k, `{note: b, series: {count: 2, lastObservedTime: "2030-01-01T00:00:00.000000Z"}}`)
	if errs := k.ValidateUpdate(again, old); len(errs) > 0 {
		t.Error(errs)
	}
	if errs := k.ValidateUpdate(other, old); len(errs) != 1 || errs[0].Error() != `message: Invalid value: "b": field is immutable` {
		t.Error(errs)
	}
	stored := k.Version.To(parse(t, k, `{note: a, regarding: {name: p}, reportingController: agent}`)).(*corev1.Event)
	if stored.Message != "a" || stored.InvolvedObject.Name != "p" {
		t.Errorf("%+v", stored)
	}
	got := k.Fields(k.Version.From(stored).(*eventsv1.Event))
	if got["regarding.name"] != "p" || got["reportingController"] != "agent" || got.Has("involvedObject.name") {
		t.Errorf("%v", got)
	}
}

func scalerWith(fields string) string {
	return `{metadata: {name: web}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, maxReplicas: 3, ` + fields + `}}`
}

func TestAutoscalers(t *testing.T) {
	const name = "horizontalpodautoscalers.autoscaling"
	judge(t, []judged{
		{"autoscaler", name, scalerWith("behavior: {scaleDown: {stabilizationWindowSeconds: 60}}"), nil},
		{"to zero", name, scalerWith("minReplicas: 0, metrics: [{type: External, external: {metric: {name: q}, target: {type: Value, value: 1}}}]"), nil},
		{"empty", name, `{spec: {}}`,
			[]string{"spec.maxReplicas: Required value: must be set and greater than 0", "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
				"spec.scaleTargetRef.kind: Required value", "spec.scaleTargetRef.name: Required value",
				`spec.scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group`}},
		{"bounds", name, scalerWith("minReplicas: 5"), []string{"spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"}},
		{"to zero by nothing", name, scalerWith("minReplicas: 0"),
			[]string{"spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas"}},
		{"metrics", name, scalerWith(`metrics: [{type: Pods}, {type: Magic}, {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 0, averageValue: 0}}, pods: {metric: {}, target: {}}}]`),
			[]string{"spec.metrics[0].pods: Required value: must populate information for the given metric source",
				`spec.metrics[1].type: Unsupported value: "Magic": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"`,
				"spec.metrics[2].pods.metric.name: Required value: must specify a metric name",
				"spec.metrics[2].pods.target.type: Required value: must specify a metric target type",
				`spec.metrics[2].pods.target.type: Invalid value: "": must be either Utilization, Value, or AverageValue`,
				"spec.metrics[2].pods.target.averageValue: Required value: must specify a positive target averageValue",
				"spec.metrics[2].pods: Forbidden: must populate the given metric source only"}},
		{"targets", name, scalerWith(`metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 0, averageValue: 0}}}, {type: Object, object: {describedObject: {apiVersion: a/b/c, kind: a/b, name: x}, metric: {name: '..'}, target: {type: Value}}}, {type: ContainerResource, containerResource: {target: {type: Value}}}]`),
			[]string{`spec.metrics[0].resource.target.averageValue: Invalid value: "0": must be positive`,
				"spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
				"spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization",
				`spec.metrics[1].object.describedObject.kind: Invalid value: "a/b": may not contain '/'`,
				`spec.metrics[1].object.describedObject.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c`,
				`spec.metrics[1].object.metric.name: Invalid value: "..": may not be '..'`,
				"spec.metrics[1].object.target.averageValue: Required value: must set either a target value or averageValue",
				"spec.metrics[2].containerResource.name: Required value: must specify a resource name",
				"spec.metrics[2].containerResource.container: Required value: must specify a container",
				"spec.metrics[2].containerResource.target.averageUtilization: Required value: must set either a target raw value or a target utilization"}},
		{"behavior", name, scalerWith("behavior: {scaleUp: {stabilizationWindowSeconds: 3601, selectPolicy: Any, policies: [{type: Half, value: 0, periodSeconds: 1801}], tolerance: -1}, scaleDown: {stabilizationWindowSeconds: -1, policies: []}}"),
			[]string{"spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
				`spec.behavior.scaleUp.selectPolicy: Unsupported value: "Any": supported values: "Disabled", "Max", "Min"`,
				`spec.behavior.scaleUp.policies[0].type: Unsupported value: "Half": supported values: "Percent", "Pods"`,
				"spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
				"spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
				`spec.behavior.scaleUp.tolerance: Invalid value: "-1": must be greater than or equal to 0`,
				"spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: -1: must be greater than or equal to zero",
				"spec.behavior.scaleDown.policies: Required value: must specify at least one Policy"}},
	})
	judgeChanges(t, []changed{
		{"of long ago", name, `{spec: {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: a}}}`, `{spec: {maxReplicas: 4, scaleTargetRef: {kind: Deployment, name: a}}}`, nil},
		{"to another group", name, scalerWith(""), strings.Replace(scalerWith(""), "apps/v1", "v1", 1),
			[]string{`spec.scaleTargetRef.apiVersion: Invalid value: "v1": apiVersion must specify API group`}},
	})
	show(t, []shown{
		{"autoscaler", name, `{metadata: {` + born + `}, spec: {scaleTargetRef: {kind: Deployment, name: web}, minReplicas: 1, maxReplicas: 3, metrics: [
			{type: Resource, resource: {name: cpu, target: {averageUtilization: 80}}}, {type: Pods, pods: {target: {averageValue: 10}}}, {type: External, external: {target: {value: 5}}}]},
			status: {currentReplicas: 2, currentMetrics: [{type: Resource, resource: {name: cpu, current: {averageUtilization: 40}}}]}}`,
			[]any{"Deployment/web", "cpu: 40%/80%, <unknown>/10 + 1 more...", "1", int64(3), int64(2), "5m"}},
		{"averages", name, `{spec: {metrics: [{type: Object, object: {target: {averageValue: 10}}}, {type: ContainerResource, containerResource: {name: cpu, target: {averageValue: 500m}}}]}}`,
			[]any{"/", "<unknown>/10 (avg), cpu: <unknown>/500m", "<unset>", int64(0), int64(0), "<unknown>"}},
		{"no metrics", name, `{spec: {metrics: []}}`, []any{"/", "<none>", "<unset>", int64(0), int64(0), "<unknown>"}},
	})
}

func TestAutoscalerInBothVersions(t *testing.T) {
	k := served(t, "autoscaling", "v1", "HorizontalPodAutoscaler")
	old := create(t, k, scalerWith("")).(*autoscalingv1.HorizontalPodAutoscaler)
	if cpu := old.Spec.TargetCPUUtilizationPercentage; cpu == nil || *cpu != 80 || old.Generation != 1 {
		t.Errorf("%+v", old)
	}
	stored := k.Version.To(old).(*autoscalingv2.HorizontalPodAutoscaler)
	stored.Spec.Metrics = append(stored.Spec.Metrics, autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "requests"}, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType}}})
	stored.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.AbleToScale}}
	shown := k.ShownValue(stored).(*autoscalingv1.HorizontalPodAutoscaler)
	notes := shown.Annotations
	if !strings.Contains(notes["autoscaling.alpha.kubernetes.io/metrics"], `"metricName":"requests"`) ||
		!strings.Contains(notes["autoscaling.alpha.kubernetes.io/conditions"], `"AbleToScale"`) {
		t.Errorf("%v", notes)
	}
	// An update by the older version keeps what it has no fields for, and cannot change the status.
	next := shown.DeepCopy()
	percent := int32(50)
	next.Spec.TargetCPUUtilizationPercentage, next.Status.CurrentReplicas = &percent, 9
	k.Prepare(next, shown)
	got := k.Version.To(next).(*autoscalingv2.HorizontalPodAutoscaler)
	if len(got.Spec.Metrics) != 2 || len(got.Status.Conditions) != 1 || got.Status.CurrentReplicas != 0 || got.Generation != 2 || len(got.Annotations) != 0 {
		t.Errorf("%+v", got)
	}
	body := shown.DeepCopy()
	body.Status.CurrentReplicas, body.Spec.MaxReplicas = 2, 9
	if errs := k.Subresources["status"].Update(next, body); len(errs) > 0 {
		t.Fatal(errs)
	}
	if next.Status.CurrentReplicas != 2 || next.Spec.MaxReplicas != 3 {
		t.Errorf("%+v", next)
	}
	body.Status.DesiredReplicas = -1
	if errs := k.Subresources["status"].Update(next, body); len(errs) != 1 || errs[0].Field != "status.desiredReplicas" {
		t.Error(errs)
	}
}
