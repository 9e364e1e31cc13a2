package kinds_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func limitWith(fields string) string { return `{spec: {limits: [{` + fields + `}]}}` }

func TestQuotas(t *testing.T) {
	judge(t, []judged{
		{"quota", "resourcequotas", `{spec: {hard: {pods: 4, requests.cpu: 500m, count/deployments.apps: 2, hugepages-2Mi: 4Mi, requests.example.com/gpu: 1}}}`, nil},
		{"amounts", "resourcequotas", `{spec: {hard: {pods: 1500m, memory: -1, storage: 1, nonsense: 1}}}`,
			[]string{`spec.hard[memory]: Invalid value: "-1": must be greater than or equal to 0`,
				`spec.hard[nonsense]: Invalid value: "nonsense": must be a standard resource type or fully qualified`,
				`spec.hard[nonsense]: Invalid value: "nonsense": must be a standard resource for quota`,
				`spec.hard[pods]: Invalid value: "1500m": must be an integer`,
				`spec.hard[storage]: Invalid value: "storage": must be a standard resource for quota`}},
		{"scopes", "resourcequotas", `{spec: {hard: {cpu: 1}, scopes: [BestEffort, NotBestEffort, Nice]}}`,
			[]string{`spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Nice"]: unsupported scope applied to resource`,
				`spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Nice"]: unsupported scope`,
				`spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Nice"]: conflicting scopes`}},
		{"scope selector", "resourcequotas", `{spec: {hard: {pods: 1}, scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [high]}]}}}`, nil},
		{"bad scope selector", "resourcequotas", `{spec: {scopeSelector: {matchExpressions: [{scopeName: Terminating, operator: In}, {scopeName: PriorityClass, operator: Exists, values: [a]}, {scopeName: Nice, operator: Is}]}}}`,
			[]string{"spec.scopeSelector.matchExpressions.operator: Invalid value: \"In\": must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
				"spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
				"spec.scopeSelector.matchExpressions.values: Invalid value: [\"a\"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
				`spec.scopeSelector.matchExpressions.scopeName: Invalid value: "Nice": unsupported scope`,
				`spec.scopeSelector.matchExpressions.operator: Invalid value: "Is": not a valid selector operator`}},
	})
	judgeChanges(t, []changed{
		{"limits", "resourcequotas", `{spec: {hard: {pods: 1}}}`, `{spec: {hard: {pods: 2}}}`, nil},
		{"scopes", "resourcequotas", `{spec: {scopes: [BestEffort]}}`, `{spec: {scopes: []}}`,
			[]string{"spec.scopes: Invalid value: []: field is immutable"}},
	})
}

func TestQuotaStatus(t *testing.T) {
	k := find(t, "resourcequotas")
	quota := create(t, k, `{spec: {hard: {pods: 1}}}`)
	body := parse(t, k, `{status: {hard: {pods: 1}, used: {pods: 500m}}}`)
	errs := k.Subresources["status"].Update(quota, body)
	if len(errs) != 1 || errs[0].Error() != `status.used[pods]: Invalid value: "500m": must be an integer` {
		t.Error(errs)
	}
}

func TestLimitRanges(t *testing.T) {
	judge(t, []judged{
		{"limit", "limitranges", limitWith("type: Container, max: {cpu: 2}, min: {cpu: 1}, default: {cpu: 1500m}, maxLimitRequestRatio: {cpu: 2}"), nil},
		{"claim", "limitranges", limitWith("type: PersistentVolumeClaim, max: {storage: 1Gi}"), nil},
		{"order", "limitranges", limitWith("type: Container, max: {cpu: 1}, min: {cpu: 2}, default: {cpu: 3}, defaultRequest: {cpu: 4}"),
			[]string{`spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1`,
				`spec.limits[0].defaultRequest[cpu]: Invalid value: "4": default request value 4 is greater than max value 1`,
				`spec.limits[0].defaultRequest[cpu]: Invalid value: "4": default request value 4 is greater than default limit value 3`,
				`spec.limits[0].default[cpu]: Invalid value: "1": default value 3 is greater than max value 1`}},
		{"default below the least", "limitranges", limitWith("type: Container, min: {cpu: 2}, default: {cpu: 1}"),
			[]string{`spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request value 1`,
				`spec.limits[0].default[cpu]: Invalid value: "2": min value 2 is greater than default value 1`}},
		{"pod", "limitranges", limitWith("type: Pod, default: {cpu: 1}, defaultRequest: {cpu: 1}, max: {pods: 1}"),
			[]string{"spec.limits[0].max[pods]: Invalid value: \"pods\": must be a standard resource for containers",
				"spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
				"spec.limits[0].defaultRequest: Forbidden: may not be specified when `type` is 'Pod'"}},
		{"ratio", "limitranges", limitWith("type: Pod, min: {cpu: 1}, max: {cpu: 2}, maxLimitRequestRatio: {cpu: 3, memory: 500m}"),
			[]string{`spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.000000`,
				`spec.limits[0].maxLimitRequestRatio[memory]: Invalid value: "500m": ratio 500m is less than 1`}},
		{"devices", "limitranges", limitWith("type: Container, default: {example.com/gpu: 2}, defaultRequest: {example.com/gpu: 1}"),
			[]string{`spec.limits[0].defaultRequest[example.com/gpu]: Invalid value: "1": default value 2 must equal to defaultRequest value 1 in example.com/gpu`}},
		{"types", "limitranges", `{spec: {limits: [{type: Job}, {type: PersistentVolumeClaim}, {type: PersistentVolumeClaim, min: {storage: 1}}]}}`,
			[]string{`spec.limits[0].type: Invalid value: "Job": must be a standard limit type or fully qualified`,
				"spec.limits[1].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
				`spec.limits[2].type: Duplicate value: "PersistentVolumeClaim"`}},
	})
}

func TestLimitRangesAreNamed(t *testing.T) {
	k := find(t, "limitranges")
	limits := parse(t, k, limitWith("type: Pod"))
	limits.SetUID("unique")
	k.Prepare(limits, nil)
	if limits.GetName() != "unique" {
		t.Errorf("it is named %q", limits.GetName())
	}
}

func TestReplicationControllers(t *testing.T) {
	const template = "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}"
	judge(t, []judged{
		{"controller", "replicationcontrollers", `{spec: {` + template + `}}`, nil},
		{"empty", "replicationcontrollers", `{spec: {replicas: -1, minReadySeconds: -1}}`,
			[]string{"spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0", "spec.selector: Required value",
				"spec.replicas: Invalid value: -1: must be greater than or equal to 0", "spec.template: Required value"}},
		{"selector of others", "replicationcontrollers", `{spec: {selector: {a: c}, ` + template + `}}`,
			[]string{"spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"}},
		{"template that ends", "replicationcontrollers", `{spec: {selector: {a: b}, template: {metadata: {labels: {a: b}}, spec: {activeDeadlineSeconds: 1, restartPolicy: Never, containers: [{name: c, image: i}]}}}}`,
			[]string{`spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"`,
				"spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicationController is not Supported"}},
		{"pod template", "podtemplates", `{` + template + `}`, nil},
		{"empty pod template", "podtemplates", `{}`, []string{"template.spec.containers: Required value"}},
		{"template that runs once", "podtemplates", `{template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}`, nil},
	})
}

func TestReplicationControllerScale(t *testing.T) {
	k := find(t, "replicationcontrollers")
	rc := create(t, k, `{spec: {template: {metadata: {labels: {a: b}}}}}`).(*corev1.ReplicationController)
	scale, err := k.Subresources["scale"].Get(rc)
	if err != nil {
		t.Fatal(err)
	}
	if errs := k.Subresources["scale"].Update(rc, scale); len(errs) > 0 || rc.Generation != 1 {
		t.Error(errs, rc.Generation)
	}
	errs := k.Subresources["status"].Update(rc, parse(t, k, `{status: {replicas: 1, readyReplicas: 2}}`))
	if len(errs) != 1 || errs[0].Error() != "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas" {
		t.Error(errs)
	}
	if diff := cmp.Diff(map[string]string{"status.replicas": "1"}, map[string]string(k.Fields(rc))); diff != "" {
		t.Error(diff)
	}
}

func TestEndpoints(t *testing.T) {
	judge(t, []judged{
		{"endpoints", "endpoints", `{subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 80}]}]}`, nil},
		{"empty", "endpoints", `{subsets: [{}]}`, []string{"subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"}},
		{"addresses", "endpoints", `{subsets: [{addresses: [{ip: 127.0.0.1, hostname: A}], notReadyAddresses: [{ip: x, nodeName: b_c}]}]}`,
			[]string{`subsets[0].addresses[0].hostname: Invalid value: "A": ` + dnsLabel,
				`subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)`,
				`subsets[0].notReadyAddresses[0].nodeName: Invalid value: "b_c": ` + subdomain,
				`subsets[0].notReadyAddresses[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`}},
		{"ports", "endpoints", `{subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 0}, {name: A, port: 1, protocol: ICMP}]}]}`,
			[]string{"subsets[0].ports[0].name: Required value", "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
				`subsets[0].ports[1].name: Invalid value: "A": ` + dnsLabel,
				`subsets[0].ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"`}},
	})
}

func TestCoreRows(t *testing.T) {
	show(t, []shown{
		{"quota", "resourcequotas", `{metadata: {` + born + `}, status: {hard: {pods: 4, requests.cpu: 1, limits.cpu: 2}, used: {pods: 1}}}`,
			[]any{"pods: 1/4, requests.cpu: 0/1", "limits.cpu: 0/2", "5m"}},
		{"limit range", "limitranges", `{metadata: {` + born + `}}`, []any{"2030-01-01T00:00:00Z"}},
		{"controller", "replicationcontrollers", `{metadata: {` + born + `}, spec: {replicas: 2, selector: {a: b}, template: {spec: {containers: [{name: x, image: i}]}}}, status: {replicas: 1}}`,
			[]any{int64(2), int64(1), int64(0), "5m", "x", "i", "a=b"}},
		{"pod template", "podtemplates", `{template: {metadata: {labels: {a: b}}, spec: {containers: [{name: x, image: i}]}}}`, []any{"x", "i", "a=b"}},
		{"old endpoints", "endpoints", `{metadata: {` + born + `}, subsets: [{addresses: [{ip: 10.0.0.1}, {ip: 10.0.0.2}], ports: [{port: 80}, {port: 81}]}]}`,
			[]any{"10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more...", "5m"}},
		{"no endpoints", "endpoints", `{}`, []any{"<none>", "<unknown>"}},
	})
}
