package api_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
	"github.com/holt-project/holt/server/storage"
)

// stream is a watch as a client sees it.
type stream struct {
	t    testing.TB
	body *bufio.Reader
	res  *http.Response
}

func (c *cluster) watch(query string, headers ...string) *stream {
	c.t.Helper()
	return c.watchPath(configMaps+"?watch=1&"+query, headers...)
}

func (c *cluster) watchPath(path string, headers ...string) *stream {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second) // a lost event fails the test, not hangs it
	c.t.Cleanup(cancel)
	res, err := http.DefaultClient.Do(c.request("GET", path, "", headers...).WithContext(ctx))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 {
		data, _ := io.ReadAll(res.Body)
		c.t.Fatalf("watch: %d %s", res.StatusCode, data)
	}
	return &stream{c.t, bufio.NewReader(res.Body), res}
}

// raw returns the next event's type and object.
func (s *stream) raw() (string, json.RawMessage) {
	s.t.Helper()
	line, err := s.body.ReadBytes('\n')
	if err != nil {
		s.t.Fatalf("watch ended: %v", err)
	}
	var e struct {
		Type   string
		Object json.RawMessage
	}
	if err := json.Unmarshal(line, &e); err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	return e.Type, e.Object
}

// next returns the next event as "TYPE name value revision".
func (s *stream) next() string {
	s.t.Helper()
	kind, data := s.raw()
	var cm corev1.ConfigMap
	if err := json.Unmarshal(data, &cm); err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s @%s", kind, cm.Name, cm.Data["k"], cm.ResourceVersion))
}

func (s *stream) want(events ...string) {
	s.t.Helper()
	for _, w := range events {
		if got := s.next(); got != w {
			s.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

func (s *stream) ends() {
	s.t.Helper()
	if rest, err := io.ReadAll(s.body); err != nil || len(rest) > 0 {
		s.t.Errorf("the watch went on: %s (%v)", rest, err)
	}
}

// fill makes a state whose revisions are known: the namespace is 1.
func (c *cluster) fill() {
	c.must("POST", configMaps, configMap("a", "1"), 201)                                   // 2
	c.must("POST", configMaps, configMap("b", "2"), 201)                                   // 3
	c.patch("merge-patch+json", configMaps+"/a", `{"metadata":{"labels":{"v":"2"}}}`, 200) // 4: a enters v=2
	c.patch("merge-patch+json", configMaps+"/b", `{"data":{"k":"x"}}`, 200)                // 5
	c.patch("merge-patch+json", configMaps+"/b", `{"metadata":{"labels":{"v":"3"}}}`, 200) // 6: b leaves v=2
	c.must("DELETE", configMaps+"/b", "", 200)                                             // 7
	c.must("DELETE", configMaps+"/a", "", 200)                                             // 8
}

func TestWatchFromRevision(t *testing.T) {
	c := newCluster(t)
	c.fill()
	c.watch("resourceVersion=1").want("ADDED a 1 @2", "ADDED b 2 @3", "MODIFIED a 1 @4", "MODIFIED b x @5",
		"MODIFIED b x @6", "DELETED b x @7", "DELETED a 1 @8")
	c.watch("resourceVersion=5").want("MODIFIED b x @6", "DELETED b x @7")
	c.watch("resourceVersion=1&labelSelector=v%3D2").want("ADDED b 2 @3", "ADDED a 1 @4", "MODIFIED b x @5",
		"DELETED b x @6", "DELETED a 1 @8")
	c.watch("resourceVersion=1&fieldSelector=metadata.name%3Db").want("ADDED b 2 @3", "MODIFIED b x @5",
		"MODIFIED b x @6", "DELETED b x @7")
}

func TestWatchFollowsWhatHappens(t *testing.T) {
	c := newCluster(t)
	c.must("POST", configMaps, configMap("a", "1"), 201)
	w := c.watch("")
	w.want("ADDED a 1 @2")
	c.must("POST", configMaps, configMap("b", "2"), 201)
	w.want("ADDED b 2 @3")
	c.must("POST", pods, podBody("p", ""), 201) // another resource
	c.must("DELETE", configMaps+"/a", "", 200)
	w.want("DELETED a 1 @5")
}

func TestWatchInitialEvents(t *testing.T) {
	c := newCluster(t)
	c.must("POST", configMaps, configMap("a", "1"), 201)
	w := c.watch("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
	w.want("ADDED a 1 @2")
	kind, data := w.raw()
	var mark corev1.ConfigMap
	if err := json.Unmarshal(data, &mark); err != nil {
		t.Fatal(err)
	}
	if kind != "BOOKMARK" || mark.ResourceVersion != "2" || mark.Annotations[metav1.InitialEventsAnnotationKey] != "true" || mark.Kind != "ConfigMap" {
		t.Errorf("%s %s", kind, data)
	}
	c.must("POST", configMaps, configMap("b", "2"), 201)
	w.want("ADDED b 2 @3")
	c.must("GET", configMaps+"?watch=1&sendInitialEvents=true", "", 422)
	c.must("GET", configMaps+"?watch=1&resourceVersionMatch=NotOlderThan", "", 422)
}

func TestWatchBookmarks(t *testing.T) {
	c := newCluster(t)
	c.cfg.Store = storage.New(c.store, c.log, time.Millisecond)
	c.url = serve(t, newHTTP(c.handler()))
	w := c.watch("resourceVersion=1&allowWatchBookmarks=true")
	c.must("POST", pods, podBody("p", ""), 201) // a change that this watch does not show
	w.want("BOOKMARK   @2")
	c.must("POST", configMaps, configMap("a", "1"), 201)
	w.want("ADDED a 1 @3")
}

func TestWatchEndsInTime(t *testing.T) {
	c := newCluster(t)
	w := c.watch("resourceVersion=1&timeoutSeconds=1&allowWatchBookmarks=true")
	c.must("POST", pods, podBody("p", ""), 201)
	w.want("BOOKMARK   @2")
	w.ends()
}

func TestWatchOfWhatIsGone(t *testing.T) {
	c := newClusterOf(t, fsm.New(kinds.Builtin().Schema(), 2))
	c.url = serve(t, newHTTP(c.handler()))
	c.must("POST", "/api/v1/namespaces", `{"metadata":{"name":"default"}}`, 201)
	for range 3 {
		c.must("POST", configMaps, configMap("a", "1"), 201)
		c.must("DELETE", configMaps+"/a", "", 200)
	}
	w := c.watch("resourceVersion=2")
	kind, data := w.raw()
	var s metav1.Status
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	if kind != "ERROR" || s.Code != 410 || s.Reason != metav1.StatusReasonExpired || !strings.Contains(s.Message, "too old resource version: 2") {
		t.Errorf("%s %s", kind, data)
	}
	w.ends()
}

// A restore cuts the watches of this server: the events between are not known.
func TestWatchCutByRestore(t *testing.T) {
	c := newCluster(t)
	w := c.watch("resourceVersion=1")
	var snapshot strings.Builder
	c.must("POST", configMaps, configMap("a", "1"), 201)
	w.want("ADDED a 1 @2")
	c.must("POST", configMaps, configMap("b", "1"), 201)
	w.want("ADDED b 1 @3")
	other := newCluster(t)
	other.fill()
	if _, err := other.store.View().WriteTo(&snapshot); err != nil {
		t.Fatal(err)
	}
	if err := c.store.Restore(strings.NewReader(snapshot.String())); err != nil {
		t.Fatal(err)
	}
	if kind, data := w.raw(); kind != "ERROR" || !strings.Contains(string(data), `"code":410`) {
		t.Errorf("%s %s", kind, data)
	}
	w.ends()
}

func TestWatchTable(t *testing.T) {
	c := newCluster(t)
	c.fill()
	w := c.watch("resourceVersion=1", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
	for i, want := range []string{"ADDED a", "ADDED b", "MODIFIED a"} {
		kind, data := w.raw()
		var table metav1.Table
		if err := json.Unmarshal(data, &table); err != nil {
			t.Fatal(err)
		}
		if len(table.Rows) != 1 || kind+" "+table.Rows[0].Cells[0].(string) != want || (i == 0) != (len(table.ColumnDefinitions) > 0) {
			t.Errorf("%s %s", kind, data)
		}
	}
}

func TestWatchProtobuf(t *testing.T) {
	c := newCluster(t)
	c.fill()
	w := c.watch("resourceVersion=1", "Accept", "application/vnd.kubernetes.protobuf")
	if got := w.res.Header.Get("Content-Type"); got != "application/vnd.kubernetes.protobuf;stream=watch" {
		t.Errorf("content type %q", got)
	}
	var got []string
	for range 7 {
		var size [4]byte
		if _, err := io.ReadFull(w.body, size[:]); err != nil {
			t.Fatal(err)
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(w.body, frame); err != nil {
			t.Fatal(err)
		}
		var e metav1.WatchEvent
		if err := e.Unmarshal(frame); err != nil {
			t.Fatal(err)
		}
		var cm corev1.ConfigMap
		unwrap(t, e.Object.Raw, "ConfigMap", &cm)
		got = append(got, e.Type+" "+cm.Name+" @"+cm.ResourceVersion)
	}
	want := []string{"ADDED a @2", "ADDED b @3", "MODIFIED a @4", "MODIFIED b @5", "MODIFIED b @6", "DELETED b @7", "DELETED a @8"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// unwrap reads a protobuf body.
func unwrap(t *testing.T, data []byte, kind string, into interface{ Unmarshal([]byte) error }) {
	t.Helper()
	raw, ok := strings.CutPrefix(string(data), "k8s\x00")
	if !ok {
		t.Fatalf("no protobuf: %q", data)
	}
	var u runtime.Unknown
	if err := u.Unmarshal([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	if u.Kind != kind {
		t.Errorf("kind %q, want %q", u.Kind, kind)
	}
	if err := into.Unmarshal(u.Raw); err != nil {
		t.Fatal(err)
	}
}
