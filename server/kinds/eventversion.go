package kinds

import (
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

// eventsEvent is the event of events.k8s.io: the same objects as the core group's, under better names and stricter rules.
func eventsEvent(stored *Kind) *Kind {
	return versionOf(stored, toEventsEvent, fromEventsEvent, Kind{
		GVK:     eventsv1.SchemeGroupVersion.WithKind("Event"),
		New:     func() fsm.Value { return &eventsv1.Event{} },
		NewList: func() runtime.Object { return &eventsv1.EventList{} },
		Validate: func(obj fsm.Value) field.ErrorList {
			return validateAnyEvent(coreEvent(obj), "reportingController")
		},
		ValidateCreate: func(obj fsm.Value) field.ErrorList { return validateNewEvent(coreEvent(obj)) },
		ValidateUpdate: func(obj, old fsm.Value) field.ErrorList { return validateEventUpdate(coreEvent(obj), coreEvent(old)) },
		Fields:         eventsEventFields,
	})
}

func toEventsEvent(obj fsm.Value) fsm.Value {
	e := obj.(*corev1.Event)
	shown := &eventsv1.Event{
		ObjectMeta: e.ObjectMeta, EventTime: e.EventTime, ReportingController: e.ReportingController,
		ReportingInstance: e.ReportingInstance, Action: e.Action, Reason: e.Reason, Regarding: e.InvolvedObject,
		Related: e.Related, Note: e.Message, Type: e.Type, DeprecatedSource: e.Source,
		DeprecatedFirstTimestamp: e.FirstTimestamp, DeprecatedLastTimestamp: e.LastTimestamp, DeprecatedCount: e.Count,
	}
	if e.Series != nil {
		shown.Series = &eventsv1.EventSeries{Count: e.Series.Count, LastObservedTime: e.Series.LastObservedTime}
	}
	return shown
}

func fromEventsEvent(obj fsm.Value) fsm.Value { return coreEvent(obj) }

func coreEvent(obj fsm.Value) *corev1.Event {
	e := obj.(*eventsv1.Event)
	stored := &corev1.Event{
		ObjectMeta: e.ObjectMeta, EventTime: e.EventTime, ReportingController: e.ReportingController,
		ReportingInstance: e.ReportingInstance, Action: e.Action, Reason: e.Reason, InvolvedObject: e.Regarding,
		Related: e.Related, Message: e.Note, Type: e.Type, Source: e.DeprecatedSource,
		FirstTimestamp: e.DeprecatedFirstTimestamp, LastTimestamp: e.DeprecatedLastTimestamp, Count: e.DeprecatedCount,
	}
	if e.Series != nil {
		stored.Series = &corev1.EventSeries{Count: e.Series.Count, LastObservedTime: e.Series.LastObservedTime}
	}
	return stored
}

func eventsEventFields(obj fsm.Value) fields.Set {
	stored := eventFields(coreEvent(obj))
	set := fields.Set{"reason": stored["reason"], "type": stored["type"], "reportingController": stored["reportingComponent"]}
	for _, name := range []string{"kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"} {
		set["regarding."+name] = stored["involvedObject."+name]
	}
	return set
}
