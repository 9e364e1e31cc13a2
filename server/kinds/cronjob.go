package kinds

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // time zones must be the same on every server, whatever is installed there

	batchv1 "k8s.io/api/batch/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/cron"
)

func cronJob() *Kind {
	gvk := batchv1.SchemeGroupVersion.WithKind("CronJob")
	newBody := func() fsm.Value { return &batchv1.CronJob{} }
	spec, status := batchv1.CronJobSpec{}.SwaggerDoc(), batchv1.CronJobStatus{}.SwaggerDoc()
	return &Kind{
		GVK:      gvk,
		Resource: "cronjobs", Singular: "cronjob", ShortNames: []string{"cj"}, Categories: []string{"all"},
		Namespaced: true,
		New:        newBody,
		NewList:    func() runtime.Object { return &batchv1.CronJobList{} },
		Default:    defaultCronJob,
		Prepare: specified[*batchv1.CronJob]{
			spec:  func(c *batchv1.CronJob) any { return &c.Spec },
			start: func(c *batchv1.CronJob) { c.Status = batchv1.CronJobStatus{} },
			keep:  func(c, old *batchv1.CronJob) { c.Status = old.Status },
		}.prepare,
		Validate:       validateCronJob,
		ValidateCreate: validateCronJobName,
		Subresources: map[string]Subresource{
			"status": statusOf(gvk, newBody, func(c, body *batchv1.CronJob) field.ErrorList {
				c.Status = body.Status
				return nil
			}),
		},
		Columns: append([]metav1.TableColumnDefinition{
			column("Schedule", "string", spec["schedule"]),
			column("Timezone", "string", spec["timeZone"]),
			column("Suspend", "boolean", spec["suspend"]),
			column("Active", "integer", status["active"]),
			column("Last Schedule", "string", status["lastScheduleTime"]),
			ageColumn(),
		}, templateColumns(batchv1.JobSpec{}.SwaggerDoc()["selector"])...),
		Cells: cronJobCells,
	}
}

func defaultCronJob(obj fsm.Value) {
	spec := &obj.(*batchv1.CronJob).Spec
	setDefault(&spec.ConcurrencyPolicy, batchv1.AllowConcurrent)
	setPointer(&spec.Suspend, false)
	setPointer(&spec.SuccessfulJobsHistoryLimit, 3)
	setPointer(&spec.FailedJobsHistoryLimit, 1)
	spec.JobTemplate.Spec.Scheduling = nil // as in a job
	defaultJobPods(&spec.JobTemplate.Spec)
}

func validateCronJob(obj fsm.Value) field.ErrorList {
	c, path := obj.(*batchv1.CronJob), field.NewPath("spec")
	errs := validateSchedule(c.Spec.Schedule, path.Child("schedule"))
	if c.Spec.StartingDeadlineSeconds != nil {
		errs = append(errs, apivalidation.ValidateNonnegativeField(*c.Spec.StartingDeadlineSeconds, path.Child("startingDeadlineSeconds"))...)
	}
	if c.Spec.TimeZone != nil {
		errs = append(errs, validateTimeZone(*c.Spec.TimeZone, path.Child("timeZone"))...)
	}
	errs = append(errs, oneOf(path.Child("concurrencyPolicy"), c.Spec.ConcurrencyPolicy,
		batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent)...)
	job, at := &c.Spec.JobTemplate.Spec, path.Child("jobTemplate", "spec")
	errs = append(errs, validateJobSpec(job, at)...)
	if job.Selector != nil {
		errs = append(errs, field.Invalid(at.Child("selector"), job.Selector, "`selector` will be auto-generated"))
	}
	if job.ManualSelector != nil && *job.ManualSelector {
		errs = append(errs, field.NotSupported(at.Child("manualSelector"), job.ManualSelector, []string{"nil", "false"}))
	}
	errs = append(errs, nonNegative(
		count{path.Child("successfulJobsHistoryLimit"), valueOf(c.Spec.SuccessfulJobsHistoryLimit)},
		count{path.Child("failedJobsHistoryLimit"), valueOf(c.Spec.FailedJobsHistoryLimit)},
	)...)
	return errs
}

// validateCronJobName leaves room for the time in the names of its jobs.
func validateCronJobName(obj fsm.Value) field.ErrorList {
	const limit = maxObjectName - cronSuffix
	if len(obj.GetName()) <= limit {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata", "name"), obj.GetName(), fmt.Sprintf("must be no more than %d characters", limit))}
}

func validateSchedule(schedule string, path *field.Path) field.ErrorList {
	switch {
	case schedule == "":
		return field.ErrorList{field.Required(path, "")}
	case strings.Contains(schedule, "TZ"):
		return field.ErrorList{field.Invalid(path, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")}
	}
	if _, err := cron.Parse(schedule); err != nil {
		return field.ErrorList{field.Invalid(path, schedule, err.Error())}
	}
	return nil
}

// zonePart is one component of a zone's name, by the rules of the time zone database.
var zonePart = regexp.MustCompile(`^[A-Za-z._0-9+][A-Za-z._0-9+-]{0,13}$`)

func validateTimeZone(zone string, path *field.Path) field.ErrorList {
	if zone == "" {
		return field.ErrorList{field.Invalid(path, zone, "timeZone must be nil or non-empty string")}
	}
	for _, part := range strings.Split(zone, "/") {
		if part == "." || part == ".." || !zonePart.MatchString(part) {
			return field.ErrorList{field.Invalid(path, zone, "unknown time zone "+zone)}
		}
	}
	var errs field.ErrorList
	if strings.EqualFold(zone, "Local") {
		errs = append(errs, field.Invalid(path, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"))
	}
	if _, err := time.LoadLocation(zone); err != nil {
		errs = append(errs, field.Invalid(path, zone, err.Error()))
	}
	return errs
}

func cronJobCells(obj fsm.Value, now time.Time) []any {
	c := obj.(*batchv1.CronJob)
	last, zone, suspended := none, none, unset
	if c.Status.LastScheduleTime != nil {
		last = since(c.Status.LastScheduleTime.Time, now)
	}
	if c.Spec.TimeZone != nil {
		zone = *c.Spec.TimeZone
	}
	if c.Spec.Suspend != nil {
		suspended = map[bool]string{true: "True", false: "False"}[*c.Spec.Suspend]
	}
	job := &c.Spec.JobTemplate.Spec
	return append([]any{c.Spec.Schedule, zone, suspended, int64(len(c.Status.Active)), last, age(obj, now)},
		templateCells(&job.Template.Spec, job.Selector)...)
}
