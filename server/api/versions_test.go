package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	oldScalers = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
	newScalers = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
	oldEvents  = "/api/v1/namespaces/default/events"
	newEvents  = "/apis/events.k8s.io/v1/namespaces/default/events"

	scaler   = `{"metadata":{"name":"web","labels":{"a":"b"}},"spec":{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"},"maxReplicas":3}}`
	newEvent = `{"metadata":{"name":"pulled"},"eventTime":"2030-01-01T00:00:00.000000Z","reportingController":"agent","reportingInstance":"n1",` +
		`"action":"Pull","reason":"Pulled","type":"Normal","note":"done","regarding":{"kind":"Pod","name":"p","namespace":"default"}}`
)

func TestOneObjectInTwoVersions(t *testing.T) {
	c := newCluster(t)
	var old autoscalingv1.HorizontalPodAutoscaler
	c.must("POST", oldScalers, scaler, 201).decode(t, &old)
	if old.APIVersion != "autoscaling/v1" || old.Spec.TargetCPUUtilizationPercentage == nil || *old.Spec.TargetCPUUtilizationPercentage != 80 {
		t.Errorf("%+v", old)
	}
	var now autoscalingv2.HorizontalPodAutoscaler
	c.must("GET", newScalers+"/web", "", 200).decode(t, &now)
	if now.APIVersion != "autoscaling/v2" || now.UID != old.UID || now.ResourceVersion != old.ResourceVersion || len(now.Spec.Metrics) != 1 {
		t.Errorf("%+v", now)
	}
	// Each kind of patch, and each way of reading, is in the version of the URL.
	c.patch("merge-patch+json", oldScalers+"/web", `{"spec":{"targetCPUUtilizationPercentage":50}}`, 200)
	c.patch("json-patch+json", newScalers+"/web", `[{"op":"replace","path":"/spec/metrics/0/resource/target/averageUtilization","value":40}]`, 200)
	c.patch("strategic-merge-patch+json", oldScalers+"/web", `{"spec":{"maxReplicas":4}}`, 200).decode(t, &old)
	if *old.Spec.TargetCPUUtilizationPercentage != 40 || old.Spec.MaxReplicas != 4 || old.Generation != 4 {
		t.Errorf("%+v", old)
	}
	again := c.must("PUT", oldScalers+"/web", strings.Replace(scaler, `"maxReplicas":3`, `"maxReplicas":4,"minReplicas":1,"targetCPUUtilizationPercentage":40`, 1), 200)
	var same autoscalingv1.HorizontalPodAutoscaler
	if again.decode(t, &same); same.ResourceVersion != old.ResourceVersion {
		t.Errorf("an update that changes nothing made revision %s of %s", same.ResourceVersion, old.ResourceVersion)
	}
	c.patch("merge-patch+json", oldScalers+"/web", `{"metadata":{"resourceVersion":"1"}}`, 409)
	s := c.patch("merge-patch+json", oldScalers+"/web", `{"spec":{"maxReplicas":-1}}`, 422).status(t)
	if len(s.Details.Causes) == 0 || s.Details.Causes[0].Field != "spec.maxReplicas" {
		t.Errorf("%+v", s)
	}
	c.must("PUT", oldScalers+"/web/status", strings.Replace(scaler, `"spec"`, `"status":{"currentReplicas":2,"desiredReplicas":2},"spec"`, 1), 200)
	c.must("GET", newScalers+"/web", "", 200).decode(t, &now)
	if now.Status.CurrentReplicas != 2 || now.Generation != 4 {
		t.Errorf("%+v", now)
	}
	var dry autoscalingv1.HorizontalPodAutoscaler
	c.patch("merge-patch+json", oldScalers+"/web?dryRun=All", `{"spec":{"maxReplicas":9}}`, 200).decode(t, &dry)
	if dry.APIVersion != "autoscaling/v1" || dry.Spec.MaxReplicas != 9 {
		t.Errorf("%+v", dry)
	}
	dry = autoscalingv1.HorizontalPodAutoscaler{}
	c.must("POST", oldScalers+"?dryRun=All", strings.Replace(scaler, `"web",`, `"other",`, 1), 201).decode(t, &dry)
	if dry.APIVersion != "autoscaling/v1" || dry.Name != "other" || dry.Spec.TargetCPUUtilizationPercentage == nil {
		t.Errorf("%+v", dry)
	}
	c.must("POST", newScalers, scaler, 409)
	c.must("DELETE", newScalers+"/web", "", 200)
	c.must("GET", oldScalers+"/web", "", 404)
}

func TestListsInTwoVersions(t *testing.T) {
	c := newCluster(t)
	c.must("POST", newEvents, newEvent, 201)
	c.must("POST", oldEvents, `{"metadata":{"name":"old"},"involvedObject":{"kind":"Pod","name":"q","namespace":"default"},"message":"m","count":2}`, 201)
	var news eventsv1.EventList
	c.must("GET", newEvents, "", 200).decode(t, &news)
	if news.Kind != "EventList" || news.APIVersion != "events.k8s.io/v1" || len(news.Items) != 2 || news.Items[0].DeprecatedCount != 2 ||
		news.Items[0].APIVersion != "events.k8s.io/v1" || news.Items[1].Note != "done" {
		t.Errorf("%+v", news)
	}
	var olds corev1.EventList
	c.must("GET", oldEvents+"?fieldSelector=involvedObject.name=p,reportingComponent=agent", "", 200).decode(t, &olds)
	if len(olds.Items) != 1 || olds.Items[0].Message != "done" {
		t.Errorf("%+v", olds)
	}
	c.must("GET", newEvents+"?fieldSelector=regarding.name=q", "", 200).decode(t, &news)
	if len(news.Items) != 1 || news.Items[0].Name != "old" {
		t.Errorf("%+v", news)
	}
	c.must("GET", newEvents+"?fieldSelector=involvedObject.name=q", "", 400)
	news = eventsv1.EventList{} // protobuf adds to what is there
	unwrap(t, c.must("GET", newEvents, "", 200, "Accept", "application/vnd.kubernetes.protobuf").body, "EventList", &news)
	if len(news.Items) != 2 || news.Items[1].Regarding.Name != "p" || news.Items[1].ResourceVersion == "" {
		t.Errorf("%+v", news)
	}
	var table metav1.Table
	c.must("GET", newEvents+"?includeObject=Object", "", 200, "Accept", asTable).decode(t, &table)
	if len(table.Rows) != 2 || table.Rows[1].Cells[3] != "pod/p" || !strings.Contains(string(table.Rows[1].Object.Raw), `"apiVersion":"events.k8s.io/v1"`) {
		t.Errorf("%+v", table)
	}
	c.must("POST", newEvents, `{"metadata":{"name":"bad"},"regarding":{"namespace":"default"}}`, 422)
	c.must("DELETE", newEvents+"?fieldSelector=reason=Pulled", "", 200).decode(t, &news)
	if len(news.Items) != 1 || news.Items[0].Note != "done" {
		t.Errorf("%+v", news)
	}
}

func TestWatchInAnotherVersion(t *testing.T) {
	c := newCluster(t)
	s := c.watchPath(newEvents + "?watch=1&fieldSelector=regarding.name=p")
	c.must("POST", oldEvents, `{"metadata":{"name":"a"},"involvedObject":{"kind":"Pod","name":"q","namespace":"default"}}`, 201)
	c.must("POST", oldEvents, `{"metadata":{"name":"b"},"involvedObject":{"kind":"Pod","name":"p","namespace":"default"},"message":"m"}`, 201)
	c.must("DELETE", oldEvents+"/b", "", 200)
	for _, want := range []string{"ADDED", "DELETED"} {
		kind, raw := s.raw()
		var e eventsv1.Event
		if err := json.Unmarshal(raw, &e); err != nil || kind != want || e.APIVersion != "events.k8s.io/v1" || e.Name != "b" || e.Note != "m" {
			t.Errorf("%s %s (%v)", kind, raw, err)
		}
	}
}
