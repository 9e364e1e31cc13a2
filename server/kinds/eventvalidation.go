package kinds

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

// Kubernetes' limits on the texts of an event, in bytes.
const (
	maxEventWord = 128
	maxEventNote = 1024
)

// validateEvent wants an event beside the object that it is about; those about cluster-scoped objects are in default.
func validateEvent(obj fsm.Value) field.ErrorList {
	return validateAnyEvent(obj.(*corev1.Event), "reportingComponent")
}

// validateAnyEvent is given the name that the version has for the reporting controller.
func validateAnyEvent(e *corev1.Event, controller string) field.ErrorList {
	elsewhere := field.ErrorList{field.Invalid(field.NewPath("involvedObject", "namespace"), e.InvolvedObject.Namespace,
		"does not match event.namespace")}
	about := e.InvolvedObject.Namespace
	if e.EventTime.IsZero() { // an event of the older form
		if about == "" && e.Namespace != "" && e.Namespace != metav1.NamespaceDefault || about != "" && about != e.Namespace {
			return elsewhere
		}
		return nil
	}
	var errs field.ErrorList
	if about == "" && e.Namespace != metav1.NamespaceDefault && e.Namespace != metav1.NamespaceSystem {
		errs = elsewhere
	}
	if e.ReportingController == "" {
		errs = append(errs, field.Required(field.NewPath(controller), ""))
	}
	errs = append(errs, invalid(field.NewPath(controller), e.ReportingController, qualifiedName(e.ReportingController))...)
	errs = append(errs, validateEventWord(e.ReportingInstance, "reportingInstance")...)
	errs = append(errs, validateEventWord(e.Action, "action")...)
	errs = append(errs, validateEventWord(e.Reason, "reason")...)
	if len(e.Message) > maxEventNote {
		errs = append(errs, tooLongFor("message", maxEventNote))
	}
	return errs
}

func validateEventWord(word, name string) field.ErrorList {
	switch {
	case word == "":
		return field.ErrorList{field.Required(field.NewPath(name), "")}
	case len(word) > maxEventWord:
		return field.ErrorList{tooLongFor(name, maxEventWord)}
	}
	return nil
}

func tooLongFor(name string, limit int) *field.Error {
	return field.Invalid(field.NewPath(name), "", fmt.Sprintf("can have at most %v characters", limit))
}

// validateNewEvent holds the events of events.k8s.io to its form: they are about a series, not a count.
func validateNewEvent(e *corev1.Event) field.ErrorList {
	errs := validateEventSeries(e.Series)
	if e.EventTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("eventTime"), ""))
	}
	if e.Type != corev1.EventTypeNormal && e.Type != corev1.EventTypeWarning {
		errs = append(errs, field.Invalid(field.NewPath("type"), "", fmt.Sprintf("has invalid value: %v", e.Type)))
	}
	for _, old := range []struct {
		name string
		set  bool
	}{
		{"firstTimestamp", !e.FirstTimestamp.IsZero()}, {"lastTimestamp", !e.LastTimestamp.IsZero()},
		{"count", e.Count != 0}, {"source", e.Source != corev1.EventSource{}},
	} {
		if old.set {
			errs = append(errs, field.Invalid(field.NewPath(old.name), "", "needs to be unset"))
		}
	}
	return errs
}

func validateEventSeries(s *corev1.EventSeries) field.ErrorList {
	if s == nil {
		return nil
	}
	var errs field.ErrorList
	if s.Count < 2 {
		errs = append(errs, field.Invalid(field.NewPath("series.count"), "", "should be at least 2"))
	}
	if s.LastObservedTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("series.lastObservedTime"), ""))
	}
	return errs
}

// validateEventUpdate lets the series of an event of events.k8s.io go on, and nothing else change.
func validateEventUpdate(e, old *corev1.Event) field.ErrorList {
	var errs field.ErrorList
	if !equality.Semantic.DeepEqual(e.Series, old.Series) {
		errs = validateEventSeries(e.Series)
	}
	for _, f := range []struct {
		name     string
		now, was any
	}{
		{"involvedObject", e.InvolvedObject, old.InvolvedObject}, {"reason", e.Reason, old.Reason},
		{"message", e.Message, old.Message}, {"source", e.Source, old.Source},
		{"firstTimestamp", e.FirstTimestamp, old.FirstTimestamp}, {"lastTimestamp", e.LastTimestamp, old.LastTimestamp},
		{"count", e.Count, old.Count}, {"type", e.Type, old.Type}, {"eventTime", e.EventTime, old.EventTime},
		{"action", e.Action, old.Action}, {"related", e.Related, old.Related},
		{"reportingController", e.ReportingController, old.ReportingController},
		{"reportingInstance", e.ReportingInstance, old.ReportingInstance},
	} {
		errs = append(errs, apivalidation.ValidateImmutableField(f.now, f.was, field.NewPath(f.name))...)
	}
	return errs
}
