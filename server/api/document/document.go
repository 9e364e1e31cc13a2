package document

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Document is a body with its media type.
type Document struct {
	contentType string
	body        []byte
	hash        string
}

// New makes a document of the bytes, which must not change from then on.
func New(contentType string, body []byte) *Document {
	sum := sha256.Sum256(body)
	return &Document{contentType: contentType, body: body, hash: strings.ToUpper(hex.EncodeToString(sum[:]))}
}

// JSON makes a document of a value.
func JSON(contentType string, value any) (*Document, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode a document of %T: %w", value, err)
	}
	return New(contentType, body), nil
}

// Hash differs between documents with different bytes. It is fit for a URL.
func (d *Document) Hash() string { return d.hash }

// Body returns the bytes; the caller must not change them.
func (d *Document) Body() []byte { return d.body }

// ServeHTTP answers GET and HEAD.
func (d *Document) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		Refuse(w, apierrors.NewMethodNotSupported(metav1.Unversioned.WithResource(r.URL.Path).GroupResource(), strings.ToLower(r.Method)))
		return
	}
	tag := `"` + d.hash + `"`
	w.Header().Set("ETag", tag)
	w.Header().Add("Vary", "Accept")
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", d.contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(d.body)))
	if r.Method == http.MethodGet {
		// A failed write means that the client has gone; nobody is left to tell.
		_, _ = w.Write(d.body)
	}
}

// matches compares weakly, as RFC 9110 13.1.2 asks.
func matches(headers []string, tag string) bool {
	for _, candidate := range strings.Split(strings.Join(headers, ","), ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == "*" || candidate == tag {
			return true
		}
	}
	return false
}

// Refuse answers with the status of an error of the API.
func Refuse(w http.ResponseWriter, err *apierrors.StatusError) {
	status := err.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	body, encodeErr := json.Marshal(status)
	if encodeErr != nil {
		http.Error(w, err.Error(), int(status.Code))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.Code))
	_, _ = w.Write(body)
}

// NotFound answers that nothing is at the request's path.
func NotFound(w http.ResponseWriter, r *http.Request) {
	err := apierrors.NewGenericServerResponse(http.StatusNotFound, strings.ToLower(r.Method),
		metav1.Unversioned.WithResource("").GroupResource(), "", "", 0, false)
	err.ErrStatus.Message = "the server could not find the requested resource"
	Refuse(w, err)
}

// MediaType is one that a client accepts.
type MediaType struct {
	// Name is "application/json"; Params are what follows it, without the weight.
	Name   string
	Params map[string]string
}

// Accepted lists the media types of a request in its order, those that it refuses (q=0) left out; weights do not
// reorder, because Kubernetes' clients list what they prefer first. A request without any accepts all. Names are not
// checked: that of OpenAPI's protobuf has a character that no media type may have.
func Accepted(r *http.Request) []MediaType {
	header := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(header) == "" {
		return []MediaType{{Name: "*/*"}}
	}
	var accepted []MediaType
	for _, part := range strings.Split(header, ",") {
		fields := strings.Split(part, ";")
		m := MediaType{Name: strings.ToLower(strings.TrimSpace(fields[0])), Params: map[string]string{}}
		for _, field := range fields[1:] {
			key, value, _ := strings.Cut(strings.TrimSpace(field), "=")
			m.Params[strings.ToLower(key)] = value
		}
		if weight, err := strconv.ParseFloat(m.Params["q"], 64); err == nil && weight == 0 {
			continue
		}
		delete(m.Params, "q")
		accepted = append(accepted, m)
	}
	return accepted
}

// NotAcceptable answers that no media type of the request can be served.
func NotAcceptable(w http.ResponseWriter, offered ...string) {
	err := apierrors.NewGenericServerResponse(http.StatusNotAcceptable, "get",
		metav1.Unversioned.WithResource("").GroupResource(), "", "", 0, false)
	err.ErrStatus.Message = "only the following media types are accepted: " + strings.Join(offered, ", ")
	Refuse(w, err)
}
