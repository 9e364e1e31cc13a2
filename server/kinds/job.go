package kinds

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

func job() *Kind {
	gvk := batchv1.SchemeGroupVersion.WithKind("Job")
	newBody := func() fsm.Value { return &batchv1.Job{} }
	return &Kind{
		GVK:      gvk,
		Resource: "jobs", Singular: "job", Categories: []string{"all"},
		Namespaced: true,
		New:        newBody,
		NewList:    func() runtime.Object { return &batchv1.JobList{} },
		Default:    defaultJob,
		Prepare: func(obj, old fsm.Value) {
			j := obj.(*batchv1.Job)
			j.Spec.Scheduling = nil // the gate of gangs is closed
			if old == nil && (j.Spec.ManualSelector == nil || !*j.Spec.ManualSelector) {
				selectOwnPods(j)
			}
			specified[*batchv1.Job]{
				spec:  func(j *batchv1.Job) any { return &j.Spec },
				start: func(j *batchv1.Job) { j.Status = batchv1.JobStatus{} },
				keep:  func(j, old *batchv1.Job) { j.Status = old.Status },
			}.prepare(obj, old)
		},
		Validate:       validateJob,
		ValidateCreate: validateOwnSelector,
		ValidateUpdate: validateJobUpdate,
		Subresources:   map[string]Subresource{"status": statusOf(gvk, newBody, takeJobStatus)},
		Fields: func(obj fsm.Value) fields.Set {
			return fields.Set{"status.successful": strconv.Itoa(int(obj.(*batchv1.Job).Status.Succeeded))}
		},
		Columns: append([]metav1.TableColumnDefinition{
			column("Status", "string", "Status of the job."),
			column("Completions", "string", batchv1.JobStatus{}.SwaggerDoc()["succeeded"]),
			column("Duration", "string", "Time required to complete the job."),
			ageColumn(),
		}, templateColumns(batchv1.JobSpec{}.SwaggerDoc()["selector"])...),
		Cells: jobCells,
	}
}

func defaultJob(obj fsm.Value) {
	j := obj.(*batchv1.Job)
	spec := &j.Spec
	if spec.Parallelism == nil {
		setPointer(&spec.Completions, 1)
		setPointer(&spec.Parallelism, 1)
	}
	if spec.BackoffLimitPerIndex != nil {
		setPointer(&spec.BackoffLimit, math.MaxInt32)
	}
	setPointer(&spec.BackoffLimit, 6)
	if len(j.Labels) == 0 {
		j.Labels = maps.Clone(spec.Template.Labels)
	}
	setPointer(&spec.CompletionMode, batchv1.NonIndexedCompletion)
	setPointer(&spec.Suspend, false)
	if spec.PodFailurePolicy != nil {
		setPointer(&spec.PodReplacementPolicy, batchv1.Failed)
	}
	setPointer(&spec.PodReplacementPolicy, batchv1.TerminatingOrFailed)
	setPointer(&spec.ManualSelector, false)
	defaultJobPods(spec)
}

// defaultJobPods is what the template of a CronJob's jobs gets too; the rest each of them gets when it is created.
func defaultJobPods(spec *batchv1.JobSpec) {
	if spec.PodFailurePolicy != nil {
		for _, rule := range spec.PodFailurePolicy.Rules {
			for i := range rule.OnPodConditions {
				setDefault(&rule.OnPodConditions[i].Status, corev1.ConditionTrue)
			}
		}
	}
	podspec.Default(&spec.Template.Spec)
}

// selectOwnPods makes the job's pods known by its UID. Labels that the user set otherwise stay, and are refused later.
func selectOwnPods(j *batchv1.Job) {
	labels := jobLabels(j)
	maps.Copy(labels, j.Spec.Template.Labels)
	j.Spec.Template.Labels = labels
	if j.Spec.Selector == nil {
		j.Spec.Selector = &metav1.LabelSelector{}
	}
	match := map[string]string{batchv1.ControllerUidLabel: string(j.UID)}
	maps.Copy(match, j.Spec.Selector.MatchLabels)
	j.Spec.Selector.MatchLabels = match
}

// Kubernetes' labels of a job's pods from before they had a prefix; pods still carry both.
const legacyControllerUID, legacyJobName = "controller-uid", "job-name"

func jobLabels(j *batchv1.Job) map[string]string {
	return map[string]string{
		batchv1.JobNameLabel: j.Name, legacyJobName: j.Name,
		batchv1.ControllerUidLabel: string(j.UID), legacyControllerUID: string(j.UID),
	}
}

func jobCells(obj fsm.Value, now time.Time) []any {
	j := obj.(*batchv1.Job)
	return append([]any{jobState(j), jobCompletions(j), jobDuration(&j.Status, now), age(obj, now)},
		templateCells(&j.Spec.Template.Spec, j.Spec.Selector)...)
}

func jobState(j *batchv1.Job) string {
	is := func(c batchv1.JobConditionType) bool { return jobHas(&j.Status, c) }
	switch {
	case is(batchv1.JobComplete):
		return "Complete"
	case is(batchv1.JobFailed):
		return "Failed"
	case j.DeletionTimestamp != nil:
		return "Terminating"
	case is(batchv1.JobSuspended):
		return "Suspended"
	case is(batchv1.JobFailureTarget):
		return "FailureTarget"
	case is(batchv1.JobSuccessCriteriaMet):
		return "SuccessCriteriaMet"
	}
	return "Running"
}

func jobHas(s *batchv1.JobStatus, condition batchv1.JobConditionType) bool {
	for _, c := range s.Conditions {
		if c.Type == condition && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

func jobCompletions(j *batchv1.Job) string {
	parallelism := valueOf(j.Spec.Parallelism)
	switch {
	case j.Spec.Completions != nil:
		return fmt.Sprintf("%d/%d", j.Status.Succeeded, *j.Spec.Completions)
	case parallelism > 1:
		return fmt.Sprintf("%d/1 of %d", j.Status.Succeeded, parallelism)
	}
	return fmt.Sprintf("%d/1", j.Status.Succeeded)
}

func jobDuration(s *batchv1.JobStatus, now time.Time) string {
	switch {
	case s.StartTime == nil:
		return ""
	case s.CompletionTime == nil:
		return duration.HumanDuration(now.Sub(s.StartTime.Time))
	}
	return duration.HumanDuration(s.CompletionTime.Sub(s.StartTime.Time))
}
