package kinds

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/holt-project/holt/fsm"
)

func event() *Kind {
	return &Kind{
		GVK:      corev1.SchemeGroupVersion.WithKind("Event"),
		Resource: "events", Singular: "event", ShortNames: []string{"ev"},
		Namespaced: true,
		New:        func() fsm.Value { return &corev1.Event{} },
		NewList:    func() runtime.Object { return &corev1.EventList{} },
		Validate:   validateEvent,
		Fields:     eventFields,
		Columns:    eventColumns(),
		Cells:      eventCells,
	}
}

func eventFields(obj fsm.Value) fields.Set {
	e := obj.(*corev1.Event)
	reporter := e.ReportingController
	setDefault(&reporter, e.Source.Component)
	source := e.Source.Component
	setDefault(&source, e.ReportingController)
	return fields.Set{
		"involvedObject.kind":            e.InvolvedObject.Kind,
		"involvedObject.namespace":       e.InvolvedObject.Namespace,
		"involvedObject.name":            e.InvolvedObject.Name,
		"involvedObject.uid":             string(e.InvolvedObject.UID),
		"involvedObject.apiVersion":      e.InvolvedObject.APIVersion,
		"involvedObject.resourceVersion": e.InvolvedObject.ResourceVersion,
		"involvedObject.fieldPath":       e.InvolvedObject.FieldPath,
		"reason":                         e.Reason,
		"reportingComponent":             reporter,
		"source":                         source,
		"type":                           e.Type,
	}
}

// eventColumns has the name among the wide columns at the end: in the first it would only repeat the object's.
func eventColumns() []metav1.TableColumnDefinition {
	doc := corev1.Event{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		column("Last Seen", "string", doc["lastTimestamp"]),
		column("Type", "string", doc["type"]),
		column("Reason", "string", doc["reason"]),
		column("Object", "string", doc["involvedObject"]),
		wide("Subobject", "string", corev1.ObjectReference{}.SwaggerDoc()["fieldPath"]),
		wide("Source", "string", doc["source"]),
		column("Message", "string", doc["message"]),
		wide("First Seen", "string", doc["firstTimestamp"]),
		wide("Count", "string", doc["count"]),
		wide("Name", "string", metav1.ObjectMeta{}.SwaggerDoc()["name"]),
	}
}

func eventCells(obj fsm.Value, now time.Time) []any {
	e := obj.(*corev1.Event)
	first, last, times := e.FirstTimestamp.Time, e.LastTimestamp.Time, e.Count
	if first.IsZero() {
		first = e.EventTime.Time
	}
	if e.Series != nil {
		last, times = e.Series.LastObservedTime.Time, e.Series.Count
	} else if last.IsZero() {
		last = first
	}
	setDefault(&times, 1)
	object := e.InvolvedObject.Name
	if e.InvolvedObject.Kind != "" {
		object = strings.ToLower(e.InvolvedObject.Kind) + "/" + object
	}
	return []any{
		since(last, now), e.Type, e.Reason, object, e.InvolvedObject.FieldPath, eventSource(e),
		strings.TrimSpace(e.Message), since(first, now), int64(times), e.Name,
	}
}

func eventSource(e *corev1.Event) string {
	component, host := e.Source.Component, e.Source.Host
	setDefault(&component, e.ReportingController)
	setDefault(&host, e.ReportingInstance)
	if host == "" {
		return component
	}
	return fmt.Sprintf("%s, %s", component, host)
}
