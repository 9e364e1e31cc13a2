package api

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/storage"
)

// frameWriter writes watch events: JSON objects one after the other, or protobuf messages with their length before
// them (4 bytes, big endian). What was written is sent by flush: to the connection, each piece costs as much as many.
type frameWriter struct {
	out     *responder
	w       http.ResponseWriter
	control *http.ResponseController
	r       *request
	a       accepted
	// columns says that a table with its column definitions was sent: later ones carry none.
	columns bool
	pending *bytes.Buffer // from buffers while there is something to send, else nil
	stuck   *stuckTimer
}

// eventError ends a watch that cannot go on.
const eventError fsm.EventType = "ERROR"

func newFrameWriter(out *responder, w http.ResponseWriter, r *request, a accepted) *frameWriter {
	w.Header().Set("Content-Type", a.contentType(true))
	w.Header().Set("Cache-Control", "no-cache, private")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	return &frameWriter{out: out, w: w, control: control, r: r, a: a, stuck: newStuckTimer(control)}
}

// close ends the writing. What was not flushed is not sent.
func (f *frameWriter) close() {
	f.stuck.close()
	f.release()
}

// flush sends what was written.
func (f *frameWriter) flush() error {
	f.stuck.start()
	defer f.stuck.stop()
	if f.pending != nil {
		if _, err := f.w.Write(f.pending.Bytes()); err != nil {
			return err
		}
		f.release()
	}
	return f.control.Flush()
}

func (f *frameWriter) release() {
	if f.pending != nil {
		releaseBuffer(f.pending)
		f.pending = nil
	}
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
	o = f.r.kind.Shown(o)
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
	if f.pending == nil {
		f.pending = newBuffer()
	}
	if f.a.format == formatProtobuf {
		if err := protobufFrame(f.pending, t, object); err != nil {
			return err
		}
	} else {
		jsonFrame(f.pending, t, object)
	}
	if f.pending.Len() < bufferSize {
		return nil
	}
	return f.flush()
}

// jsonFrame appends an event. Its type is a plain word.
func jsonFrame(to *bytes.Buffer, t fsm.EventType, object []byte) {
	to.WriteString(`{"type":"`)
	to.WriteString(string(t))
	to.WriteString(`","object":`)
	to.Write(object)
	to.WriteString("}\n")
}

func protobufFrame(to *bytes.Buffer, t fsm.EventType, object []byte) error {
	e := metav1.WatchEvent{Type: string(t), Object: runtime.RawExtension{Raw: object}}
	data, err := e.Marshal()
	if err != nil {
		return fmt.Errorf("encode watch event: %w", err)
	}
	to.Write(binary.BigEndian.AppendUint32(to.AvailableBuffer(), uint32(len(data))))
	to.Write(data)
	return nil
}
