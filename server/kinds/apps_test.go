package kinds_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
)

// setWith is a workload with a selector and a template that fit.
func setWith(fields string) string {
	return `{metadata: {name: db, namespace: default}, spec: {selector: {matchLabels: {a: b}}, ` + fields +
		`template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}`
}

func TestStatefulSets(t *testing.T) {
	const claims = `{metadata: {name: db}, spec: {selector: {matchLabels: {a: b}},
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i, volumeMounts: [{name: data, mountPath: /data}]}]}},
  volumeClaimTemplates: [{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}}`
	judge(t, []judged{
		{"set", "statefulsets.apps", setWith("serviceName: db, "), nil},
		{"claims are volumes", "statefulsets.apps", claims, nil},
		{"empty", "statefulsets.apps", `{spec: {}}`, []string{"spec.selector: Required value", "spec.template.spec.containers: Required value"}},
		{"numbers", "statefulsets.apps", setWith("replicas: -1, minReadySeconds: -1, ordinals: {start: -1}, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: -1, maxUnavailable: 0}}, "),
			[]string{"spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
				"spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0",
				"spec.replicas: Invalid value: -1: must be greater than or equal to 0",
				"spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
				"spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"}},
		{"policies", "statefulsets.apps", setWith("podManagementPolicy: Any, serviceName: A, updateStrategy: {type: OnDelete, rollingUpdate: {}}, persistentVolumeClaimRetentionPolicy: {whenScaled: Burn}, "),
			[]string{"spec.podManagementPolicy: Invalid value: \"Any\": must be 'OrderedReady' or 'Parallel'",
				"spec.updateStrategy.rollingUpdate: Invalid value: {}: only allowed for updateStrategy 'RollingUpdate'",
				`spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Burn": supported values: "Delete", "Retain"`,
				`spec.serviceName: Invalid value: "A": ` + dnsLabel}},
		{"strategy", "statefulsets.apps", setWith("updateStrategy: {type: Blue}, "),
			[]string{`spec.updateStrategy: Invalid value: {"type":"Blue"}: must be 'RollingUpdate' or 'OnDelete'`}},
		{"claim", "statefulsets.apps", setWith("volumeClaimTemplates: [{metadata: {name: data}}], "),
			[]string{"spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required",
				"spec.volumeClaimTemplates[0].spec.resources[storage]: Required value"}},
		{"template that ends", "statefulsets.apps", `{spec: {selector: {}, template: {spec: {restartPolicy: Never, activeDeadlineSeconds: 1, containers: [{name: c, image: i}]}}}}`,
			[]string{"spec.selector: Invalid value: {}: empty selector is invalid for statefulset",
				`spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"`,
				"spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported"}},
	})
	judgeChanges(t, []changed{
		{"replicas", "statefulsets.apps", setWith(""), setWith("replicas: 3, updateStrategy: {type: OnDelete}, "), nil},
		{"service", "statefulsets.apps", setWith("serviceName: a, "), setWith("serviceName: b, podManagementPolicy: Parallel, "),
			[]string{`spec.serviceName: Invalid value: "b": field is immutable`, `spec.podManagementPolicy: Invalid value: "Parallel": field is immutable`}},
		{"types of claims", "statefulsets.apps", claims, strings.Replace(claims, "apiVersion: v1, kind: PersistentVolumeClaim, ", "", 1), nil},
	})
}

func TestStoredClaimTemplatesHaveTheirType(t *testing.T) {
	k := find(t, "statefulsets.apps")
	raw, err := k.Encode(create(t, k, setWith("volumeClaimTemplates: [{metadata: {name: data}}], ")))
	if err != nil {
		t.Fatal(err)
	}
	set, err := k.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got := set.(*appsv1.StatefulSet).Spec.VolumeClaimTemplates[0].Kind; got != "PersistentVolumeClaim" {
		t.Errorf("the template's kind is %q", got)
	}
}

func TestStatusOfSets(t *testing.T) {
	for _, test := range []struct{ resource, old, body, want string }{
		{"statefulsets.apps", `{}`, `{status: {replicas: 1, availableReplicas: 1, readyReplicas: 1}}`, ""},
		{"statefulsets.apps", `{}`, `{status: {replicas: 1, currentReplicas: 2}}`, "status.currentReplicas: Invalid value: 2: cannot be greater than status.replicas"},
		{"statefulsets.apps", `{status: {collisionCount: 2}}`, `{status: {collisionCount: 1}}`, "status.collisionCount: Invalid value: 1: cannot be decremented"},
		{"daemonsets.apps", `{}`, `{status: {numberReady: 3}}`, ""},
		{"daemonsets.apps", `{}`, `{status: {numberMisscheduled: -1}}`, "status.numberMisscheduled: Invalid value: -1: must be greater than or equal to 0"},
		{"daemonsets.apps", `{status: {collisionCount: 2}}`, `{}`, "status.collisionCount: Invalid value: 0: cannot be decremented"},
	} {
		k := find(t, test.resource)
		got := ""
		for _, err := range k.Subresources["status"].Update(parse(t, k, test.old), parse(t, k, test.body)) {
			got += err.Error()
		}
		if got != test.want {
			t.Errorf("%s, %s: %q", test.resource, test.body, got)
		}
	}
}

func TestDaemonSets(t *testing.T) {
	judge(t, []judged{
		{"set", "daemonsets.apps", setWith(""), nil},
		{"surge", "daemonsets.apps", setWith(`updateStrategy: {rollingUpdate: {maxSurge: "10%", maxUnavailable: 0}}, `), nil},
		{"both", "daemonsets.apps", setWith(`updateStrategy: {rollingUpdate: {maxSurge: 1}}, `),
			[]string{"spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"}},
		{"neither", "daemonsets.apps", setWith(`updateStrategy: {rollingUpdate: {maxUnavailable: 0}}, `),
			[]string{"spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"}},
		{"more than all", "daemonsets.apps", setWith(`updateStrategy: {rollingUpdate: {maxUnavailable: "101%"}}, `),
			[]string{`spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%`}},
		{"strategy", "daemonsets.apps", setWith(`updateStrategy: {type: Blue}, revisionHistoryLimit: -1, `),
			[]string{`spec.updateStrategy: Unsupported value: {"type":"Blue"}: supported values: "RollingUpdate", "OnDelete"`,
				"spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0"}},
	})
	judgeChanges(t, []changed{
		{"selector", "daemonsets.apps", setWith(""), strings.ReplaceAll(setWith(""), "a: b", "a: c"),
			[]string{`spec.selector: Invalid value: {"matchLabels":{"a":"c"}}: field is immutable`}},
	})
}

func TestDaemonSetsCountTheirTemplates(t *testing.T) {
	k := find(t, "daemonsets.apps")
	old := create(t, k, setWith(""))
	same, _ := update(t, k, old, setWith("minReadySeconds: 1, "))
	other, _ := update(t, k, same, strings.Replace(setWith(""), "image: i", "image: j", 1))
	var got []string
	for _, set := range []interface{ GetAnnotations() map[string]string }{old, same, other} {
		got = append(got, set.GetAnnotations()[appsv1.DeprecatedTemplateGeneration])
	}
	if diff := cmp.Diff([]string{"1", "1", "2"}, got); diff != "" {
		t.Error(diff)
	}
	if other.GetGeneration() != 3 {
		t.Errorf("generation %d", other.GetGeneration())
	}
}

func TestControllerRevisions(t *testing.T) {
	judge(t, []judged{
		{"revision", "controllerrevisions.apps", `{revision: 1, data: {spec: {}}}`, nil},
		{"no data", "controllerrevisions.apps", `{revision: -1}`,
			[]string{"revision: Invalid value: -1: must be greater than or equal to 0", "data: Required value: data is mandatory"}},
		{"a list", "controllerrevisions.apps", `{data: [1]}`, []string{"data: Required value: data must be a valid JSON object"}},
	})
	judgeChanges(t, []changed{
		{"number", "controllerrevisions.apps", `{revision: 1, data: {a: 1}}`, `{revision: 2, data: {a: 1}}`, nil},
		{"data", "controllerrevisions.apps", `{data: {a: 1}}`, `{data: {a: 2}}`, []string{`data: Invalid value: {"a":2}: field is immutable`}},
	})
}

func TestAppsRows(t *testing.T) {
	show(t, []shown{
		{"stateful set", "statefulsets.apps", `{metadata: {` + born + `}, spec: {replicas: 3, template: {spec: {containers: [{name: x, image: i}]}}}, status: {readyReplicas: 1}}`,
			[]any{"1/3", "5m", "x", "i"}},
		{"daemon set", "daemonsets.apps", `{metadata: {` + born + `}, spec: {selector: {matchLabels: {a: b}}, template: {spec: {nodeSelector: {disk: ssd}, containers: [{name: x, image: i}]}}}, status: {desiredNumberScheduled: 5, currentNumberScheduled: 4, numberReady: 3, updatedNumberScheduled: 2, numberAvailable: 1}}`,
			[]any{int64(5), int64(4), int64(3), int64(2), int64(1), "disk=ssd", "5m", "x", "i", "a=b"}},
		{"revision", "controllerrevisions.apps", `{metadata: {` + born + `, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: db, controller: true}]}, revision: 4}`,
			[]any{"statefulset.apps/db", int64(4), "5m"}},
		{"free revision", "controllerrevisions.apps", `{}`, []any{"<none>", int64(0), "<unknown>"}},
	})
}
