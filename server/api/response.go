package api

import (
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

// response is a handler's answer before it is encoded: exactly one of object, list and value is set.
type response struct {
	code int
	// object is an object of the request's kind, whose encodings are cached.
	object *fsm.Object
	// list is a list of such objects.
	list *listing
	// value is anything else: a Status, a Scale.
	value runtime.Object
}

type listing struct {
	meta  metav1.ListMeta
	items []*fsm.Object
}

// gzipThreshold is the size in bytes from which compressing pays, as in Kubernetes.
const gzipThreshold = 128 << 10

// listGVK is the type of the list of a kind.
func listGVK(k *kinds.Kind) schema.GroupVersionKind {
	return k.GVK.GroupVersion().WithKind(k.GVK.Kind + "List")
}

// responder puts answers and errors on the wire, in the form that the client asked for.
type responder struct {
	log *slog.Logger
	now func() time.Time
}

// send encodes and writes res.
func (o *responder) send(w http.ResponseWriter, r *request, res response) {
	a, err := negotiate(r.http.Header.Get("Accept"), res.list != nil, false)
	if err != nil {
		o.fail(w, r.http, err)
		return
	}
	segments, err := o.encode(r, res, a)
	if err != nil {
		o.fail(w, r.http, err)
		return
	}
	for _, text := range r.warnings {
		w.Header().Add("Warning", warning(text))
	}
	w.Header().Set("Content-Type", a.contentType(false))
	write(w, r.http, res.code, segments)
}

func (o *responder) encode(r *request, res response, a accepted) ([][]byte, error) {
	res = r.shown(res)
	if res.value != nil || a.shape == shapeObject {
		return encodePlain(r.kind, res, a.format)
	}
	var v runtime.Object
	var err error
	items, meta := []*fsm.Object{res.object}, metav1.ListMeta{}
	if res.list != nil {
		items, meta = res.list.items, res.list.meta
	} else {
		meta.ResourceVersion = res.object.Value.GetResourceVersion()
	}
	switch a.shape {
	case shapeTable:
		v, err = o.table(r.kind, items, meta, a.version, r.query.Get("includeObject"))
	case shapePartial:
		v = partial(res.object.Value, a.version)
	default:
		v = partialList(items, meta, a.version)
	}
	if err != nil {
		return nil, err
	}
	data, err := encodeValue(v, a.format)
	return [][]byte{data}, err
}

// shown converts an answer's objects to the version of the URL.
func (r *request) shown(res response) response {
	if r.kind.Version == nil {
		return res
	}
	res.object = r.kind.Shown(res.object)
	if res.list != nil {
		items := make([]*fsm.Object, len(res.list.items))
		for i, item := range res.list.items {
			items[i] = r.kind.Shown(item)
		}
		res.list = &listing{meta: res.list.meta, items: items}
	}
	return res
}

func encodePlain(k *kinds.Kind, res response, f format) ([][]byte, error) {
	var data []byte
	var err error
	switch {
	case res.list != nil:
		return encodeList(listGVK(k), res.list.meta, res.list.items, f)
	case res.object != nil:
		data, err = encodeItem(res.object, f)
	default:
		data, err = encodeValue(res.value, f)
	}
	return [][]byte{data}, err
}

// write sends a body in segments, compressed if it is large and the client can read that.
func write(w http.ResponseWriter, r *http.Request, code int, segments [][]byte) {
	n := length(segments)
	out := io.Writer(w)
	w.Header().Add("Vary", "Accept-Encoding")
	if n >= gzipThreshold && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(code)
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is valid
		defer z.Close()
		out = z
	} else {
		w.Header().Set("Content-Length", strconv.Itoa(n))
		w.WriteHeader(code)
	}
	_ = writeAll(out, segments) // an error is that the client is gone: there is nobody to tell
}

// writeAll writes the segments in pieces of about bufferSize.
func writeAll(out io.Writer, segments [][]byte) error {
	b := newBuffer()
	defer func() { releaseBuffer(b) }()
	for _, s := range segments {
		if b.Len()+len(s) > bufferSize && b.Len() > 0 {
			if _, err := b.WriteTo(out); err != nil {
				return err
			}
		}
		if len(s) >= bufferSize {
			if _, err := out.Write(s); err != nil {
				return err
			}
			continue
		}
		b.Write(s)
	}
	_, err := b.WriteTo(out)
	return err
}

// fail answers with the error's Status, in a form that the client reads.
func (o *responder) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	if status.Code == http.StatusInternalServerError {
		o.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	if d := status.Details; d != nil && d.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(d.RetryAfterSeconds)))
	}
	a, nerr := negotiate(r.Header.Get("Accept"), false, false)
	if nerr != nil {
		a = accepted{format: formatJSON}
	}
	data, eerr := encodeValue(&status, a.format)
	if eerr != nil {
		http.Error(w, status.Message, int(status.Code))
		return
	}
	w.Header().Set("Content-Type", a.contentType(false))
	write(w, r, int(status.Code), [][]byte{data})
}

// warning words a Warning header (RFC 7234, 5.5), as Kubernetes sends it.
func warning(text string) string {
	text = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, text)
	return `299 - ` + strconv.Quote(text)
}
