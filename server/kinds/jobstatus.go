package kinds

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// takeJobStatus holds every controller of jobs, also a foreign one (managedBy), to what clients of jobs rely on. A rule
// is looked at when what it speaks of has changed: a controller needs time to follow a change of the specification.
func takeJobStatus(j, body *batchv1.Job) field.ErrorList {
	c := jobChange{spec: &j.Spec, old: j.Status, new: &j.Status, path: field.NewPath("status")}
	j.Status = body.Status
	errs := c.counters()
	errs = append(errs, c.conditions()...)
	errs = append(errs, c.times()...)
	errs = append(errs, c.finish()...)
	errs = append(errs, c.indexes()...)
	return append(errs, c.steps()...)
}

// jobChange is a job's status before and after.
type jobChange struct {
	spec *batchv1.JobSpec
	old  batchv1.JobStatus
	new  *batchv1.JobStatus
	path *field.Path
}

func (c *jobChange) had(condition batchv1.JobConditionType) bool { return jobHas(&c.old, condition) }
func (c *jobChange) has(condition batchv1.JobConditionType) bool { return jobHas(c.new, condition) }

// turned reports whether one of the conditions has changed.
func (c *jobChange) turned(conditions ...batchv1.JobConditionType) bool {
	for _, condition := range conditions {
		if c.had(condition) != c.has(condition) {
			return true
		}
	}
	return false
}

func (c *jobChange) finished() bool { return c.has(batchv1.JobComplete) || c.has(batchv1.JobFailed) }

func (c *jobChange) ended() bool {
	return c.finished() != (c.had(batchv1.JobComplete) || c.had(batchv1.JobFailed))
}

// rule is what is reported if it is broken.
type rule struct {
	broken bool
	err    func() *field.Error
}

func broken(rules ...rule) field.ErrorList {
	var errs field.ErrorList
	for _, r := range rules {
		if r.broken {
			errs = append(errs, r.err())
		}
	}
	return errs
}

// wrong makes a rule about a field of the status.
func (c *jobChange) wrong(when bool, name string, value any, message string) rule {
	return rule{when, func() *field.Error { return field.Invalid(c.path.Child(name), value, message) }}
}

func (c *jobChange) contradiction(when bool, message string) rule {
	return c.wrong(when, "conditions", field.OmitValueType{}, message)
}

func (c *jobChange) missing(when bool, name, message string) rule {
	return rule{when, func() *field.Error { return field.Required(c.path.Child(name), message) }}
}

func (c *jobChange) counters() field.ErrorList {
	errs := nonNegative(
		count{c.path.Child("active"), c.new.Active}, count{c.path.Child("succeeded"), c.new.Succeeded},
		count{c.path.Child("failed"), c.new.Failed}, count{c.path.Child("ready"), valueOf(c.new.Ready)},
		count{c.path.Child("terminating"), valueOf(c.new.Terminating)},
	)
	if u := c.new.UncountedTerminatedPods; u != nil {
		seen, at := sets.New[types.UID](), c.path.Child("uncountedTerminatedPods")
		errs = append(errs, uniqueUIDs(u.Succeeded, seen, at.Child("succeeded"))...)
		errs = append(errs, uniqueUIDs(u.Failed, seen, at.Child("failed"))...)
	}
	return errs
}

func uniqueUIDs(uids []types.UID, seen sets.Set[types.UID], path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, uid := range uids {
		switch {
		case uid == "":
			errs = append(errs, field.Invalid(path.Index(i), uid, "must not be empty"))
		case seen.Has(uid):
			errs = append(errs, field.Duplicate(path.Index(i), uid))
		}
		seen.Insert(uid)
	}
	return errs
}

func (c *jobChange) conditions() field.ErrorList {
	complete, failed := c.has(batchv1.JobComplete), c.has(batchv1.JobFailed)
	failing, met := c.has(batchv1.JobFailureTarget), c.has(batchv1.JobSuccessCriteriaMet)
	return broken(
		c.contradiction(complete && failed && c.turned(batchv1.JobComplete, batchv1.JobFailed),
			"cannot set Complete=True and Failed=true conditions"),
		c.contradiction(complete && failing && c.turned(batchv1.JobComplete, batchv1.JobFailureTarget),
			"cannot set Complete=True and FailureTarget=true conditions"),
		c.contradiction(failed && !failing && (c.turned(batchv1.JobFailed) || c.reindexed(c.old.FailedIndexes, c.new.FailedIndexes)),
			"cannot set Failed=True condition without the FailureTarget=true condition"),
		c.contradiction(complete && !met && c.turned(batchv1.JobComplete, batchv1.JobSuccessCriteriaMet),
			"cannot set Complete=True condition without the SuccessCriteriaMet=true condition"),
		c.contradiction(met && failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
		c.contradiction(met && failing, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
		c.contradiction(c.spec.SuccessPolicy != nil && !met && complete,
			"cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"),
	)
}

func (c *jobChange) times() field.ErrorList {
	start, end, complete := c.new.StartTime, c.new.CompletionTime, c.has(batchv1.JobComplete)
	moved := !sameTime(c.old.CompletionTime, end)
	return broken(
		c.wrong(end != nil && !complete && (moved || c.turned(batchv1.JobComplete)), "completionTime", end,
			"cannot set completionTime when there is no Complete=True condition"),
		c.missing(end == nil && complete && (moved || c.turned(batchv1.JobComplete)), "completionTime",
			"completionTime is required for Complete jobs"),
		c.wrong(start != nil && end != nil && end.Before(start) && (moved || !sameTime(c.old.StartTime, start)), "completionTime", end,
			"must be equal to or after `startTime`"),
	)
}

func sameTime(a, b *metav1.Time) bool { return equality.Semantic.DeepEqual(a, b) }

// finish is about what a job that has ended cannot have any more.
func (c *jobChange) finish() field.ErrorList {
	now, done, ended := c.new, c.finished(), c.ended()
	pending := now.UncountedTerminatedPods
	skipped := c.spec.Suspend != nil && *c.spec.Suspend && c.spec.Completions != nil && *c.spec.Completions == 0
	return broken(
		c.wrong(done && now.Active > 0 && (ended || c.old.Active != now.Active), "active", now.Active, "active>0 is invalid for finished job"),
		c.missing(done && now.StartTime == nil && !skipped && (ended || !sameTime(c.old.StartTime, now.StartTime)), "startTime",
			"startTime is required for finished job"),
		c.wrong(done && pending != nil && len(pending.Failed)+len(pending.Succeeded) > 0 &&
			(ended || !equality.Semantic.DeepEqual(c.old.UncountedTerminatedPods, pending)), "uncountedTerminatedPods", pending,
			"must be empty for finished job"),
		c.wrong(done && valueOf(now.Terminating) > 0 && (ended || !equality.Semantic.DeepEqual(c.old.Terminating, now.Terminating)), "terminating",
			now.Terminating, "terminating>0 is invalid for finished job"),
		c.wrong(now.Ready != nil && *now.Ready > now.Active &&
			(c.old.Active != now.Active || !equality.Semantic.DeepEqual(c.old.Ready, now.Ready)), "ready", valueOf(now.Ready),
			"cannot set more ready pods than active"),
	)
}

func (c *jobChange) reindexed(before, now *string) bool {
	return !equality.Semantic.DeepEqual(before, now)
}

func (c *jobChange) indexes() field.ErrorList {
	completed, failed, limit := c.new.CompletedIndexes, c.new.FailedIndexes, valueOf(c.spec.Completions)
	completing, failing := c.old.CompletedIndexes != completed, c.reindexed(c.old.FailedIndexes, failed)
	counted := c.spec.Completions != nil
	succeeded, err := parseIndexes(completed, limit)
	errs := broken(
		c.wrong(err != nil && counted && completing, "completedIndexes", completed, fmt.Sprintf("error parsing completedIndexes: %v", err)),
		c.wrong(completed != "" && !indexed(c.spec) && completing, "completedIndexes", completed,
			"cannot set non-empty completedIndexes when non-indexed completion mode"),
	)
	if failed == nil {
		return errs
	}
	lost, err := parseIndexes(*failed, limit)
	index, both := overlap(succeeded, lost)
	return append(errs, broken(
		c.wrong(err != nil && counted && c.spec.BackoffLimitPerIndex != nil && failing, "failedIndexes", failed,
			fmt.Sprintf("error parsing failedIndexes: %v", err)),
		c.wrong(c.spec.BackoffLimitPerIndex == nil && failing, "failedIndexes", *failed,
			"cannot set non-null failedIndexes when backoffLimitPerIndex is null"),
		c.wrong(both && counted && (failing || completing), "failedIndexes", *failed,
			fmt.Sprintf("failedIndexes and completedIndexes overlap at index: %d", index)),
	)...)
}

// steps is about what cannot be taken back.
func (c *jobChange) steps() field.ErrorList {
	var rules []rule
	for _, condition := range []batchv1.JobConditionType{batchv1.JobFailed, batchv1.JobComplete, batchv1.JobFailureTarget} {
		rules = append(rules, c.contradiction(c.had(condition) && !c.has(condition),
			fmt.Sprintf("cannot disable the terminal %s=True condition", condition)))
	}
	elastic := indexed(c.spec) && equality.Semantic.DeepEqual(c.spec.Completions, c.spec.Parallelism) // it may be made smaller
	suspended := c.spec.Suspend != nil && *c.spec.Suspend
	met := c.has(batchv1.JobSuccessCriteriaMet)
	return broken(append(rules,
		c.wrong(c.new.Failed < c.old.Failed, "failed", c.new.Failed, "cannot decrease the failed counter"),
		c.wrong(c.new.Succeeded < c.old.Succeeded && !elastic, "succeeded", c.new.Succeeded, "cannot decrease the succeeded counter"),
		c.wrong(c.new.CompletionTime != nil && c.old.CompletionTime != nil && !sameTime(c.new.CompletionTime, c.old.CompletionTime),
			"completionTime", c.new.CompletionTime, "field is immutable"),
		c.wrong(c.old.StartTime != nil && !sameTime(c.old.StartTime, c.new.StartTime) && !suspended && !c.resumed(),
			"startTime", c.new.StartTime, "field is immutable for unsuspended job once set"),
		c.contradiction(c.had(batchv1.JobSuccessCriteriaMet) && !met, "cannot disable the SuccessCriteriaMet=True condition"),
		c.contradiction(c.had(batchv1.JobComplete) && !c.had(batchv1.JobSuccessCriteriaMet) && met,
			"cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"),
	)...)
}

// resumed reports whether the job was suspended and says now that it is not.
func (c *jobChange) resumed() bool {
	for _, condition := range c.new.Conditions {
		if condition.Type == batchv1.JobSuspended && condition.Status == corev1.ConditionFalse {
			return c.had(batchv1.JobSuspended)
		}
	}
	return false
}
