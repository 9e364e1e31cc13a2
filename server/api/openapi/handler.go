package openapi

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	openapiv2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/holt-project/holt/server/api/document"
	"github.com/holt-project/holt/server/kinds"
)

const (
	pathV2 = "/openapi/v2"
	pathV3 = "/openapi/v3"

	typeJSON = "application/json"
	// typeProtobuf is what is sent. Clients ask for it by an older name too, which is not a valid media type.
	typeProtobuf    = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
	typeOldProtobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
)

// Docs serves the descriptions of a registry's API.
type Docs struct {
	groups []group
	gvks   map[reflect.Type][]schema.GroupVersionKind

	// The documents are built once, by whoever asks first.
	v2    func() (*document.Document, error)
	v2pb  func() (*document.Document, error)
	v3    map[string]func() (*document.Document, error)
	index func() (*document.Document, error)
}

// New prepares the documents. It fails when a kind's types cannot be described.
func New(reg *kinds.Registry) (*Docs, error) {
	gvks, err := types(reg)
	if err != nil {
		return nil, err
	}
	d := &Docs{groups: groups(reg), gvks: gvks, v3: map[string]func() (*document.Document, error){}}
	d.v2, d.v2pb, d.index = sync.OnceValues(d.buildV2), sync.OnceValues(d.buildProtobuf), sync.OnceValues(d.buildIndex)
	for _, g := range d.groups {
		d.v3[g.path()] = sync.OnceValues(func() (*document.Document, error) { return d.buildV3(g) })
	}
	return d, nil
}

// Paths lists what is served, for the list of all paths.
func (d *Docs) Paths() []string {
	paths := []string{pathV2, pathV3}
	for _, g := range d.groups {
		paths = append(paths, pathV3+"/"+g.path())
	}
	return paths
}

// ServeHTTP answers under /openapi/.
func (d *Docs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	switch {
	case path == pathV2:
		d.serveV2(w, r)
	case path == pathV3:
		serve(w, r, d.index)
	default:
		name, found := strings.CutPrefix(path, pathV3+"/")
		if build := d.v3[name]; found && build != nil {
			serveHashed(w, r, build)
			return
		}
		document.NotFound(w, r)
	}
}

func (d *Docs) serveV2(w http.ResponseWriter, r *http.Request) {
	for _, accepted := range document.Accepted(r) {
		switch accepted.Name {
		case typeProtobuf, typeOldProtobuf:
			serve(w, r, d.v2pb)
			return
		case typeJSON, "application/*", "*/*":
			serve(w, r, d.v2)
			return
		}
	}
	document.NotAcceptable(w, typeJSON, typeProtobuf)
}

func serve(w http.ResponseWriter, r *http.Request, build func() (*document.Document, error)) {
	doc, err := build()
	if err != nil {
		document.Refuse(w, apierrors.NewInternalError(err))
		return
	}
	doc.ServeHTTP(w, r)
}

// serveHashed lets a client keep a document for good whose URL has its hash; one with an old hash is sent to the new.
func serveHashed(w http.ResponseWriter, r *http.Request, build func() (*document.Document, error)) {
	doc, err := build()
	if err != nil {
		document.Refuse(w, apierrors.NewInternalError(err))
		return
	}
	if hash := r.URL.Query().Get("hash"); hash != "" {
		if hash != doc.Hash() {
			http.Redirect(w, r, r.URL.Path+"?hash="+doc.Hash(), http.StatusMovedPermanently)
			return
		}
		const year = 365 * 24 * time.Hour
		w.Header().Set("Cache-Control", fmt.Sprintf("public, immutable, max-age=%d", int(year.Seconds())))
	}
	doc.ServeHTTP(w, r)
}

func (d *Docs) buildV2() (*document.Document, error) {
	all := make([]*described, len(d.groups))
	for i, g := range d.groups {
		var err error
		if all[i], err = describeGroup(g, d.gvks); err != nil {
			return nil, err
		}
	}
	return document.JSON(typeJSON, merged(all...))
}

func (d *Docs) buildProtobuf() (*document.Document, error) {
	doc, err := d.v2()
	if err != nil {
		return nil, err
	}
	parsed, err := openapiv2.ParseDocument(doc.Body())
	if err != nil {
		return nil, fmt.Errorf("parse OpenAPI version 2: %w", err)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(parsed)
	if err != nil {
		return nil, fmt.Errorf("encode OpenAPI version 2: %w", err)
	}
	return document.New(typeProtobuf, data), nil
}

func (d *Docs) buildV3(g group) (*document.Document, error) {
	described, err := describeGroup(g, d.gvks)
	if err != nil {
		return nil, err
	}
	return document.JSON(typeJSON, document3(described))
}

// buildIndex lists the documents of version 3 by the paths that they describe.
func (d *Docs) buildIndex() (*document.Document, error) {
	type entry struct {
		URL string `json:"serverRelativeURL"`
	}
	paths := map[string]entry{}
	for name, build := range d.v3 {
		doc, err := build()
		if err != nil {
			return nil, err
		}
		paths[name] = entry{URL: pathV3 + "/" + name + "?hash=" + doc.Hash()}
	}
	return document.JSON(typeJSON, map[string]any{"paths": paths})
}
