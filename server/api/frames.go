package api

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/storage"
)

// frameWriter writes watch events: JSON objects one after the other, or protobuf messages with their length before
// them (4 bytes, big endian).
type frameWriter struct {
	out     *responder
	w       http.ResponseWriter
	control *http.ResponseController
	r       *request
	a       accepted
	// columns says that a table with its column definitions was sent: later ones carry none.
	columns bool
}

// eventError ends a watch that cannot go on.
const eventError fsm.EventType = "ERROR"

func newFrameWriter(out *responder, w http.ResponseWriter, r *request, a accepted) *frameWriter {
	w.Header().Set("Content-Type", a.contentType(true))
	w.Header().Set("Cache-Control", "no-cache, private")
	w.WriteHeader(http.StatusOK)
	return &frameWriter{out: out, w: w, control: http.NewResponseController(w), r: r, a: a}
}

// stuckAfter is how long a client may take to read before its watch is cut off.
const stuckAfter = 30 * time.Second

// deadline bounds what is written next. Writers without deadlines (in tests) go without.
func (f *frameWriter) deadline(d time.Duration) error {
	at := time.Time{}
	if d > 0 {
		at = time.Now().Add(d) // the network's clock, not the API's
	}
	if err := f.control.SetWriteDeadline(at); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// close lifts the deadline: the connection may serve other requests.
func (f *frameWriter) close() {
	if err := f.deadline(0); err != nil {
		f.out.log.Debug("watch's connection is gone", "path", f.r.info.Path, "err", err)
	}
}

// flush sends what was written, and lifts the deadline: in HTTP/2 it would end the stream though nothing waits.
func (f *frameWriter) flush() error {
	if err := f.deadline(stuckAfter); err != nil {
		return err
	}
	if err := f.control.Flush(); err != nil {
		return err
	}
	return f.deadline(0)
}

// event writes one step of the watch.
func (f *frameWriter) event(e storage.Event) error {
	if e.Type == storage.Bookmark {
		return f.bookmark(e.Revision, e.InitialEnd)
	}
	return f.object(e.Type, e.Object)
}

// object writes one event about o.
func (f *frameWriter) object(t fsm.EventType, o *fsm.Object) error {
	data, err := f.encode(o)
	if err != nil {
		return err
	}
	return f.frame(t, data)
}

func (f *frameWriter) encode(o *fsm.Object) ([]byte, error) {
	switch f.a.shape {
	case shapeTable:
		t, err := f.out.table(f.r.kind, []*fsm.Object{o}, metav1.ListMeta{ResourceVersion: o.Value.GetResourceVersion()},
			f.a.version, f.r.query.Get("includeObject"))
		if err != nil {
			return nil, err
		}
		if f.columns {
			t.ColumnDefinitions = nil
		}
		f.columns = true
		return encodeValue(t, f.a.format)
	case shapePartial:
		return encodeValue(partial(o.Value, f.a.version), f.a.format)
	}
	return encodeItem(o, f.a.format)
}

// bookmark promises that everything up to revision was sent; initial marks the end of the initial events.
func (f *frameWriter) bookmark(revision uint64, initial bool) error {
	v := f.r.kind.New()
	v.GetObjectKind().SetGroupVersionKind(f.r.kind.GVK)
	v.SetResourceVersion(strconv.FormatUint(revision, 10))
	if initial {
		v.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	return f.object(storage.Bookmark, &fsm.Object{Key: f.r.kind.Key("", ""), Revision: revision, Value: v})
}

// end tells the client why the watch cannot go on.
func (f *frameWriter) end(err error) {
	status := statusOf(err)
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	data, err := encodeValue(&status, f.a.format)
	if err == nil {
		err = f.frame(eventError, data)
	}
	if err == nil {
		err = f.flush()
	}
	if err != nil {
		f.out.log.Debug("watch ended without a word", "path", f.r.info.Path, "err", err)
	}
}

// frame writes one event whose object is encoded already.
func (f *frameWriter) frame(t fsm.EventType, object []byte) error {
	if err := f.deadline(stuckAfter); err != nil {
		return err
	}
	if f.a.format == formatProtobuf {
		return f.protobufFrame(t, object)
	}
	kind, err := json.Marshal(string(t))
	if err != nil {
		return err
	}
	for _, part := range [][]byte{[]byte(`{"type":`), kind, []byte(`,"object":`), object, []byte("}\n")} {
		if _, err := f.w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

func (f *frameWriter) protobufFrame(t fsm.EventType, object []byte) error {
	e := metav1.WatchEvent{Type: string(t), Object: runtime.RawExtension{Raw: object}}
	data, err := e.Marshal()
	if err != nil {
		return fmt.Errorf("encode watch event: %w", err)
	}
	if _, err := f.w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(data)))); err != nil {
		return err
	}
	_, err = f.w.Write(data)
	return err
}
