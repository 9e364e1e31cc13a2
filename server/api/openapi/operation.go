package openapi

import (
	"net/http"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

var (
	bodyTypes  = []string{"*/*"}
	plainTypes = []string{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"}
	listTypes  = append(slices.Clone(plainTypes),
		"application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
	patchTypes = []string{"application/json-patch+json", "application/merge-patch+json",
		"application/strategic-merge-patch+json", "application/apply-patch+yaml"}
)

// action is how one verb of the API is done over HTTP.
type action struct {
	method string
	// id begins the operation's name, and words its description. name is the value of x-kubernetes-action.
	id, words, name string
	// options are the types whose fields are query parameters.
	options            []any
	consumes, produces []string
	// body is what is sent: nothing, the object, a patch or options of deletion.
	body body
	// codes are the successful answers.
	codes []int
}

type body int

const (
	noBody body = iota
	objectBody
	patchBody
	deleteBody
)

// actions are the verbs that have an operation of their own; a watch is a list with a parameter.
var actions = map[string]action{
	"get": {method: http.MethodGet, id: "read", words: "read the specified", name: "get",
		produces: plainTypes, codes: []int{200}},
	"list": {method: http.MethodGet, id: "list", words: "list or watch objects of kind", name: "list",
		options: []any{metav1.ListOptions{}}, produces: listTypes, codes: []int{200}},
	"create": {method: http.MethodPost, id: "create", words: "create a", name: "post", options: []any{metav1.CreateOptions{}},
		body: objectBody, consumes: bodyTypes, produces: plainTypes, codes: []int{200, 201, 202}},
	"update": {method: http.MethodPut, id: "replace", words: "replace the specified", name: "put", options: []any{metav1.UpdateOptions{}},
		body: objectBody, consumes: bodyTypes, produces: plainTypes, codes: []int{200, 201}},
	"patch": {method: http.MethodPatch, id: "patch", words: "partially update the specified", name: "patch", options: []any{metav1.PatchOptions{}},
		body: patchBody, consumes: patchTypes, produces: plainTypes, codes: []int{200, 201}},
	"delete": {method: http.MethodDelete, id: "delete", words: "delete a", name: "delete", options: []any{metav1.DeleteOptions{}},
		body: deleteBody, consumes: bodyTypes, produces: plainTypes, codes: []int{200, 202}},
	"deletecollection": {method: http.MethodDelete, id: "delete", words: "delete collection of", name: "deletecollection",
		options: []any{metav1.ListOptions{}, metav1.DeleteOptions{}},
		body:    deleteBody, consumes: bodyTypes, produces: plainTypes, codes: []int{200}},
}

// endpoint is what an operation is about.
type endpoint struct {
	// gv is where it is served, gvk the type on the wire, object and answer the Go types sent and received.
	gv             schema.GroupVersion
	gvk            schema.GroupVersionKind
	object, answer reflect.Type
	// suffix ends the operation's name: "NamespacedPodStatus".
	suffix string
	// options, unless nil, is a further type of query parameters.
	options any
	// stream marks a connection: the answer is text.
	stream bool
}

func (s *schemas) operation(a action, e endpoint) *spec.Operation {
	op := &spec.Operation{}
	op.ID = a.id + groupTitle(e.gv) + e.suffix
	op.Description = a.words + " " + e.gvk.Kind
	op.Tags = []string{tag(e.gv)}
	op.Consumes, op.Produces = a.consumes, a.produces
	op.Parameters = s.body(a.body, e.object)
	options := a.options
	if e.options != nil {
		options = append(slices.Clone(options), e.options)
	}
	op.Parameters = append(op.Parameters, parameters(options...)...)
	answer := s.of(e.answer)
	if e.stream {
		answer, op.Produces = typed("string", ""), append([]string{"text/plain"}, op.Produces...)
	}
	op.Responses = &spec.Responses{ResponsesProps: spec.ResponsesProps{StatusCodeResponses: map[int]spec.Response{
		http.StatusUnauthorized: {ResponseProps: spec.ResponseProps{Description: "Unauthorized"}},
	}}}
	for _, code := range a.codes {
		op.Responses.StatusCodeResponses[code] = spec.Response{ResponseProps: spec.ResponseProps{
			Description: http.StatusText(code), Schema: &answer,
		}}
	}
	op.AddExtension(extensionAction, a.name)
	op.AddExtension(extensionGVK, gvkValue(e.gvk))
	return op
}

func (s *schemas) body(kind body, object reflect.Type) []spec.Parameter {
	switch kind {
	case noBody:
		return nil
	case patchBody:
		object = reflect.TypeFor[metav1.Patch]()
	case deleteBody:
		object = reflect.TypeFor[metav1.DeleteOptions]()
	}
	sent := s.of(object)
	return []spec.Parameter{{ParamProps: spec.ParamProps{
		Name: "body", In: "body", Required: kind != deleteBody, Schema: &sent,
	}}}
}

// parameters are the fields of types of options as query parameters, each name once, sorted. Structured fields can
// only be sent in a body.
func parameters(options ...any) []spec.Parameter {
	byName := map[string]spec.Parameter{}
	for _, o := range options {
		t := reflect.TypeOf(o)
		doc := describe(t)
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			kind := dereference(t.Field(i).Type)
			if repeated := kind.Kind() == reflect.Slice; name != "" && (repeated || kind.Kind() != reflect.Struct) {
				byName[name] = query(name, doc[name], kind)
			}
		}
	}
	all := make([]spec.Parameter, 0, len(byName))
	for _, p := range byName {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b spec.Parameter) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// query describes a list as one text: it is a parameter that may be repeated.
func query(name, description string, t reflect.Type) spec.Parameter {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	kind := primitive(t.Kind())
	return parameter("query", name, description, kind.Type[0], kind.Format)
}

func parameter(in, name, description, kind, format string) spec.Parameter {
	return spec.Parameter{
		ParamProps:        spec.ParamProps{Name: name, In: in, Description: description, Required: in == "path"},
		SimpleSchema:      spec.SimpleSchema{Type: kind, Format: format},
		CommonValidations: spec.CommonValidations{UniqueItems: true},
	}
}

// pathParameters are those that all operations of a path have.
func pathParameters(path, kind string) []spec.Parameter {
	var all []spec.Parameter
	if strings.Contains(path, "{name}") {
		all = append(all, parameter("path", "name", "name of the "+kind, "string", ""))
	}
	if strings.Contains(path, "{namespace}") {
		all = append(all, parameter("path", "namespace", "object name and auth scope, such as for teams and projects", "string", ""))
	}
	return append(all, parameter("query", "pretty", "If 'true', then the output is pretty printed.", "string", ""))
}

// groupTitle is "CoreV1" or "DiscoveryV1"; tag is "core_v1".
func groupTitle(gv schema.GroupVersion) string { return title(shortGroup(gv)) + title(gv.Version) }

func tag(gv schema.GroupVersion) string { return shortGroup(gv) + "_" + gv.Version }

func shortGroup(gv schema.GroupVersion) string {
	if gv.Group == "" {
		return "core"
	}
	short, _, _ := strings.Cut(gv.Group, ".")
	return short
}

func title(word string) string {
	if word == "" {
		return ""
	}
	return strings.ToUpper(word[:1]) + word[1:]
}
