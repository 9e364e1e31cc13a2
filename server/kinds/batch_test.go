package kinds_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// jobWith is a job, and the specification and the pods' that it has more.
func jobWith(spec, pods string) string {
	return `{metadata: {name: once, uid: u}, spec: {` + spec + `template: {spec: {` + pods + `restartPolicy: Never, containers: [{name: c, image: i}]}}}}`
}

func TestJobs(t *testing.T) {
	k := find(t, "jobs.batch")
	const indexed = "completionMode: Indexed, completions: 5, "
	for name, test := range map[string]struct {
		manifest string
		want     []string
	}{
		"job":     {jobWith("", ""), nil},
		"indexed": {jobWith(indexed+"backoffLimitPerIndex: 1, maxFailedIndexes: 2, successPolicy: {rules: [{succeededIndexes: '0,2-4', succeededCount: 3}]}, ", ""), nil},
		"manual":  {`{metadata: {name: once}, spec: {manualSelector: true, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {restartPolicy: OnFailure, containers: [{name: c, image: i}]}}}}`, nil},
		"manual without": {`{metadata: {name: once}, spec: {manualSelector: true, template: {spec: {restartPolicy: OnFailure, containers: [{name: c, image: i}]}}}}`,
			[]string{"spec.selector: Required value", "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`"}},
		"labels of others": {`{metadata: {name: once, uid: u}, spec: {template: {metadata: {labels: {job-name: other}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}`,
			[]string{`spec.template.metadata.labels[job-name]: Invalid value: {"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"once","controller-uid":"u","job-name":"other"}: must be 'once'`}},
		"runs for ever": {strings.Replace(jobWith("", ""), "restartPolicy: Never, ", "", 1),
			[]string{`spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"`}},
		"numbers": {jobWith("parallelism: -1, completions: -1, activeDeadlineSeconds: -1, backoffLimit: -1, ttlSecondsAfterFinished: -1, ", ""),
			[]string{"spec.parallelism: Invalid value: -1: must be greater than or equal to 0", "spec.completions: Invalid value: -1: must be greater than or equal to 0",
				"spec.activeDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0", "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0",
				"spec.ttlSecondsAfterFinished: Invalid value: -1: must be greater than or equal to 0"}},
		"not indexed": {jobWith("maxFailedIndexes: 1, successPolicy: {}, ", ""),
			[]string{"spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
				"spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
				`spec.successPolicy: Invalid value: {"rules":null}: requires indexed completion mode`}},
		"indexed without end": {jobWith("completionMode: Indexed, parallelism: 200000, managedBy: me, ", ""),
			[]string{"spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")",
				"spec.completions: Required value: when completion mode is Indexed",
				"spec.parallelism: Invalid value: 200000: must be less than or equal to 100000 when completion mode is Indexed"}},
		"many": {jobWith("completionMode: Indexed, completions: 200000, parallelism: 20000, backoffLimitPerIndex: 1, ", ""),
			[]string{"spec.maxFailedIndexes: Required value: must be specified when completions is above 100000",
				"spec.parallelism: Invalid value: 20000: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index"}},
		"failure policy": {jobWith("podFailurePolicy: {rules: [{action: FailIndex}, {action: Ignore, onExitCodes: {containerName: x, operator: In, values: [3, 0, 3]}, onPodConditions: [{type: 'a b'}]}, {onExitCodes: {}}]}, ", ""),
			[]string{"spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set",
				"spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
				"spec.podFailurePolicy.rules[1].onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template",
				"spec.podFailurePolicy.rules[1].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
				"spec.podFailurePolicy.rules[1].onExitCodes.values[2]: Duplicate value: 3",
				"spec.podFailurePolicy.rules[1].onExitCodes.values: Invalid value: [3,0,3]: must be ordered",
				`spec.podFailurePolicy.rules[1].onPodConditions[0].type: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
				"spec.podFailurePolicy.rules[1]: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported",
				`spec.podFailurePolicy.rules[2].action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]`,
				`spec.podFailurePolicy.rules[2].onExitCodes.operator: Required value: valid values: ["In" "NotIn"]`,
				"spec.podFailurePolicy.rules[2].onExitCodes.values: Invalid value: null: at least one value is required"}},
		"success policy": {jobWith(indexed+"successPolicy: {rules: [{}, {succeededIndexes: '1-0', succeededCount: 9}]}, ", ""),
			[]string{"spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified",
				"spec.successPolicy.rules[1].succeededIndexes: Invalid value: \"1-0\": error parsing succeededIndexes: non-increasing order, previous: 1, current: 0",
				"spec.successPolicy.rules[1].succeededCount: Invalid value: 9: must be less than or equal to 5 (the number of specified completions)",
				"spec.successPolicy.rules[1].succeededCount: Invalid value: 9: must be less than or equal to 0 (the number of indexes in the specified succeededIndexes field)"}},
		"replacement": {jobWith("podReplacementPolicy: Soon, ", ""),
			[]string{`spec.podReplacementPolicy: Unsupported value: "Soon": supported values: "Failed", "TerminatingOrFailed"`}},
	} {
		t.Run(name, func(t *testing.T) {
			obj := create(t, k, test.manifest)
			sameProblems(t, append(problems(k, obj), newProblems(k, obj)...), test.want...)
		})
	}
}

func TestJobUpdates(t *testing.T) {
	k := find(t, "jobs.batch")
	replaced := func(old *batchv1.Job, edit func(*batchv1.Job)) []string {
		j := old.DeepCopy()
		edit(j)
		k.Prepare(j, old)
		got := problems(k, j)
		for _, err := range k.ValidateUpdate(j, old) {
			got = append(got, err.Error())
		}
		return got
	}
	three := int32(3)
	plain := create(t, k, jobWith("", "")).(*batchv1.Job)
	indexed := create(t, k, jobWith("completionMode: Indexed, completions: 5, parallelism: 5, ", "")).(*batchv1.Job)
	resting := create(t, k, jobWith("suspend: true, ", "affinity: {podAffinity: {}, nodeAffinity: {}}, ")).(*batchv1.Job)
	started := resting.DeepCopy()
	started.Status.Active = 1
	place := func(j *batchv1.Job) {
		j.Spec.Template.Spec.NodeSelector = map[string]string{"disk": "ssd"}
		j.Spec.Template.Spec.Containers[0].Resources.Limits = corev1.ResourceList{}
	}
	sameProblems(t, replaced(plain, func(j *batchv1.Job) { j.Spec.Parallelism = &three }))
	sameProblems(t, replaced(plain, func(j *batchv1.Job) { j.Spec.Completions = &three }), "spec.completions: Invalid value: 3: field is immutable")
	sameProblems(t, replaced(indexed, func(j *batchv1.Job) { j.Spec.Completions = &three }),
		"spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism")
	sameProblems(t, replaced(indexed, func(j *batchv1.Job) { j.Spec.Completions, j.Spec.Parallelism = &three, &three }))
	sameProblems(t, replaced(resting, place))
	sameProblems(t, replaced(resting, func(j *batchv1.Job) { j.Spec.Template.Spec.Affinity.NodeAffinity = nil }))
	for _, old := range []*batchv1.Job{plain, started} {
		got := replaced(old, place)
		if len(got) != 1 || !strings.HasPrefix(got[0], "spec.template: Invalid value: ") || !strings.HasSuffix(got[0], ": field is immutable") {
			t.Error(got)
		}
	}
}

func TestJobStatus(t *testing.T) {
	k := find(t, "jobs.batch")
	const ended = `startTime: "2030-01-01T00:00:00Z", completionTime: "2030-01-01T00:01:00Z", conditions: [{type: SuccessCriteriaMet, status: "True"}, {type: Complete, status: "True"}]`
	for name, test := range map[string]struct {
		spec, old, status string
		want              []string
	}{
		"running":  {"", "", "active: 2, ready: 1", nil},
		"complete": {"", "active: 2", ended, nil},
		"complete too early": {"", "", `active: 1, conditions: [{type: Complete, status: "True"}]`,
			[]string{"status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
				"status.completionTime: Required value: completionTime is required for Complete jobs",
				"status.active: Invalid value: 1: active>0 is invalid for finished job", "status.startTime: Required value: startTime is required for finished job"}},
		"both": {"", ended, ended[:len(ended)-1] + `, {type: Failed, status: "True"}]`,
			[]string{"status.conditions: Invalid value: cannot set Complete=True and Failed=true conditions",
				"status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition",
				"status.conditions: Invalid value: cannot set SuccessCriteriaMet=True and Failed=true conditions"}},
		"taken back": {"", ended, `startTime: "2030-01-01T00:00:00Z"`,
			[]string{"status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
				"status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition"}},
		"counters": {"", "failed: 2, succeeded: 2", "failed: 1, succeeded: 1, active: 1, ready: 2, uncountedTerminatedPods: {succeeded: ['', a], failed: [a]}",
			[]string{`status.uncountedTerminatedPods.succeeded[0]: Invalid value: "": must not be empty`, `status.uncountedTerminatedPods.failed[0]: Duplicate value: "a"`,
				"status.ready: Invalid value: 2: cannot set more ready pods than active",
				"status.failed: Invalid value: 1: cannot decrease the failed counter", "status.succeeded: Invalid value: 1: cannot decrease the succeeded counter"}},
		"indexes": {"completionMode: Indexed, completions: 5, backoffLimitPerIndex: 1, ", "", "completedIndexes: '0,2-4', failedIndexes: '4'",
			[]string{`status.failedIndexes: Invalid value: "4": failedIndexes and completedIndexes overlap at index: 4`}},
		"indexes without": {"", "", "completedIndexes: '9', failedIndexes: ''",
			[]string{`status.completedIndexes: Invalid value: "9": error parsing completedIndexes: too large index: "9"`,
				`status.completedIndexes: Invalid value: "9": cannot set non-empty completedIndexes when non-indexed completion mode`,
				`status.failedIndexes: Invalid value: "": cannot set non-null failedIndexes when backoffLimitPerIndex is null`}},
		"start moved": {"", `startTime: "2030-01-01T00:00:00Z"`, `startTime: "2030-01-01T00:01:00Z"`,
			[]string{`status.startTime: Invalid value: "2030-01-01T00:01:00Z": field is immutable for unsuspended job once set`}},
		"resumed": {"", `startTime: "2030-01-01T00:00:00Z", conditions: [{type: Suspended, status: "True"}]`,
			`startTime: "2030-01-01T00:01:00Z", conditions: [{type: Suspended, status: "False"}]`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			j := create(t, k, jobWith(test.spec, "")).(*batchv1.Job)
			j.Status = parse(t, k, `{status: {`+test.old+`}}`).(*batchv1.Job).Status
			var got []string
			for _, err := range k.Subresources["status"].Update(j, parse(t, k, `{status: {`+test.status+`}}`)) {
				got = append(got, err.Error())
			}
			sameProblems(t, got, test.want...)
		})
	}
}

// cronWith is a cron job that has more in its specification and in that of its jobs.
func cronWith(spec, job string) string {
	return `{metadata: {name: nightly}, spec: {` + spec + `jobTemplate: {spec: {` + job + `template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}}`
}

func TestCronJobs(t *testing.T) {
	judge(t, []judged{
		{"cron job", "cronjobs.batch", cronWith("schedule: '0 3 * * *', timeZone: Europe/Berlin, ", ""), nil},
		{"empty", "cronjobs.batch", cronWith("concurrencyPolicy: Queue, startingDeadlineSeconds: -1, successfulJobsHistoryLimit: -1, ", ""),
			[]string{"spec.schedule: Required value", "spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
				`spec.concurrencyPolicy: Unsupported value: "Queue": supported values: "Allow", "Forbid", "Replace"`,
				"spec.successfulJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0"}},
		{"schedule", "cronjobs.batch", cronWith("schedule: '0 25 * * *', timeZone: Berlin, ", ""),
			[]string{`spec.schedule: Invalid value: "0 25 * * *": end of range (25) above maximum (23): 25`, `spec.timeZone: Invalid value: "Berlin": unknown time zone Berlin`}},
		{"zone in the schedule", "cronjobs.batch", cronWith("schedule: 'TZ=UTC 0 3 * * *', timeZone: local, ", ""),
			[]string{`spec.schedule: Invalid value: "TZ=UTC 0 3 * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead`,
				`spec.timeZone: Invalid value: "local": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones`,
				`spec.timeZone: Invalid value: "local": unknown time zone local`}},
		{"zone outside", "cronjobs.batch", cronWith("schedule: '@daily', timeZone: ../etc/passwd, ", ""),
			[]string{`spec.timeZone: Invalid value: "../etc/passwd": unknown time zone ../etc/passwd`}},
		{"selector", "cronjobs.batch", cronWith("schedule: '@daily', ", "selector: {}, manualSelector: true, "),
			[]string{"spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated",
				`spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"`}},
		{"long name", "cronjobs.batch", strings.Replace(cronWith("schedule: '@daily', ", ""), "nightly", strings.Repeat("a", 53), 1),
			[]string{`metadata.name: Invalid value: "` + strings.Repeat("a", 53) + `": must be no more than 52 characters`}},
	})
}

func TestBatchRows(t *testing.T) {
	const pods = `template: {spec: {containers: [{name: x, image: i}]}}`
	show(t, []shown{
		{"job", "jobs.batch", `{metadata: {` + born + `}, spec: {completions: 3, selector: {matchLabels: {a: b}}, ` + pods + `}, status: {succeeded: 1, startTime: "2030-01-01T00:04:00Z"}}`,
			[]any{"Running", "1/3", "60s", "5m", "x", "i", "a=b"}},
		{"done", "jobs.batch", `{spec: {parallelism: 2, ` + pods + `}, status: {succeeded: 1, startTime: "2030-01-01T00:00:00Z", completionTime: "2030-01-01T00:00:07Z", conditions: [{type: Complete, status: "True"}]}}`,
			[]any{"Complete", "1/1 of 2", "7s", "<unknown>", "x", "i", "<none>"}},
		{"suspended", "jobs.batch", `{spec: {}, status: {conditions: [{type: Suspended, status: "True"}]}}`,
			[]any{"Suspended", "0/1", "", "<unknown>", "", "", "<none>"}},
		{"cron job", "cronjobs.batch", `{metadata: {` + born + `}, spec: {schedule: "@daily", suspend: false, jobTemplate: {spec: {` + pods + `}}}, status: {active: [{name: a}], lastScheduleTime: "2030-01-01T00:02:00Z"}}`,
			[]any{"@daily", "<none>", "False", int64(1), "3m", "5m", "x", "i", "<none>"}},
	})
	k := find(t, "jobs.batch")
	if diff := cmp.Diff(map[string]string{"status.successful": "0"}, map[string]string(k.Fields(k.New()))); diff != "" {
		t.Error(diff)
	}
}
