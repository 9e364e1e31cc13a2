package api

import (
	"mime"
	"sort"
	"strconv"
	"strings"
)

// format is an encoding of objects on the wire.
type format string

// The formats, which are also the keys of the cached encodings.
const (
	formatJSON     format = "json"
	formatYAML     format = "yaml"
	formatProtobuf format = "protobuf"
)

const (
	typeJSON     = "application/json"
	typeYAML     = "application/yaml"
	typeProtobuf = "application/vnd.kubernetes.protobuf"

	acceptedTypes = typeJSON + ", " + typeYAML + ", " + typeProtobuf
)

var formats = map[string]format{
	typeJSON: formatJSON, "*/*": formatJSON, "application/*": formatJSON, typeYAML: formatYAML, typeProtobuf: formatProtobuf,
}

var contentTypes = map[format]string{formatJSON: typeJSON, formatYAML: typeYAML, formatProtobuf: typeProtobuf}

// shape is what an object is turned into for the client.
type shape string

// The shapes (meta.k8s.io).
const (
	shapeObject      shape = ""
	shapeTable       shape = "Table"
	shapePartial     shape = "PartialObjectMetadata"
	shapePartialList shape = "PartialObjectMetadataList"
)

// accepted is the answer's form that was agreed on.
type accepted struct {
	format format
	shape  shape
	// version of meta.k8s.io that the client asked for, "v1" or "v1beta1".
	version string
}

// negotiate picks the first form of the Accept header, by quality and order, that can be served. list says whether the
// answer is a list; a stream can have no YAML.
func negotiate(header string, list, stream bool) (accepted, error) {
	if strings.TrimSpace(header) == "" {
		return accepted{format: formatJSON}, nil
	}
	type clause struct {
		accepted
		q float64
	}
	var clauses []clause
	for _, part := range strings.Split(header, ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		a, ok := acceptable(media, params, list, stream)
		q := 1.0
		if v, err := strconv.ParseFloat(params["q"], 64); err == nil {
			q = v
		}
		if ok && q > 0 {
			clauses = append(clauses, clause{a, q})
		}
	}
	if len(clauses) == 0 {
		return accepted{format: formatJSON}, errNotAcceptable()
	}
	sort.SliceStable(clauses, func(i, j int) bool { return clauses[i].q > clauses[j].q })
	return clauses[0].accepted, nil
}

func acceptable(media string, params map[string]string, list, stream bool) (accepted, bool) {
	a := accepted{format: formats[media], shape: shape(params["as"])}
	if a.format == "" || (stream && a.format == formatYAML) {
		return a, false
	}
	if s, ok := params["stream"]; ok && (s != "watch" || !stream) {
		return a, false
	}
	switch a.shape {
	case shapeObject:
		return a, true
	case shapeTable:
		if a.format == formatProtobuf { // cells have no protobuf form
			return a, false
		}
	case shapePartial:
		if list {
			return a, false
		}
	case shapePartialList:
		if !list {
			return a, false
		}
	default:
		return a, false
	}
	a.version = params["v"]
	return a, params["g"] == "meta.k8s.io" && (a.version == "v1" || a.version == "v1beta1")
}

// contentType is the answer's header.
func (a accepted) contentType(stream bool) string {
	t := contentTypes[a.format]
	if stream && a.format == formatProtobuf {
		return t + ";stream=watch"
	}
	return t
}
