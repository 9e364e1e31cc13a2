package openapi

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/openapiconv"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/holt-project/holt/server/kinds"
)

// types maps each Go type of the registry to what it is on the wire.
func types(reg *kinds.Registry) (map[reflect.Type][]schema.GroupVersionKind, error) {
	all := map[reflect.Type][]schema.GroupVersionKind{
		reflect.TypeFor[metav1.Status](): {{Version: "v1", Kind: "Status"}},
	}
	add := func(object any, gvk schema.GroupVersionKind) error {
		t, err := structOf(object)
		if err == nil && !slices.Contains(all[t], gvk) {
			all[t] = append(all[t], gvk)
		}
		return err
	}
	for _, k := range reg.Served() {
		if err := add(k.New(), k.GVK); err != nil {
			return nil, err
		}
		list := k.GVK
		list.Kind += "List"
		if err := add(k.NewList(), list); err != nil {
			return nil, err
		}
		if err := add(metav1.DeleteOptions{}, k.GVK.GroupVersion().WithKind("DeleteOptions")); err != nil {
			return nil, err
		}
		for name, sub := range k.Subresources {
			if sub.New == nil {
				return nil, fmt.Errorf("openapi: subresource %s of %s has no type", name, k.GVK.Kind)
			}
			if err := add(sub.New(), sub.GVK); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// group is what is served under one group and version.
type group struct {
	gv    schema.GroupVersion
	kinds []*kinds.Kind
}

// path is the group's place in URLs, without the leading slash: "api/v1", "apis/apps/v1".
func (g group) path() string {
	if g.gv.Group == "" {
		return "api/" + g.gv.Version
	}
	return "apis/" + g.gv.Group + "/" + g.gv.Version
}

func groups(reg *kinds.Registry) []group {
	var all []group
	for _, k := range reg.Served() {
		gv := k.GVK.GroupVersion()
		i := slices.IndexFunc(all, func(g group) bool { return g.gv == gv })
		if i < 0 {
			i, all = len(all), append(all, group{gv: gv})
		}
		all[i].kinds = append(all[i].kinds, k)
	}
	return all
}

// described is one group in the form of version 2, which that of version 3 is made from.
type described struct {
	schemas *schemas
	paths   map[string]spec.PathItem
}

func describeGroup(g group, gvks map[reflect.Type][]schema.GroupVersionKind) (*described, error) {
	d := &described{schemas: newSchemas(gvks), paths: map[string]spec.PathItem{}}
	d.schemas.of(reflect.TypeFor[metav1.Status]())
	for _, k := range g.kinds {
		if err := d.kind(g, k); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *described) kind(g group, k *kinds.Kind) error {
	object, err := structOf(k.New())
	if err != nil {
		return err
	}
	list, err := structOf(k.NewList())
	if err != nil {
		return err
	}
	top, scope := "/"+g.path(), ""
	collection := top + "/" + k.Resource
	if k.Namespaced {
		scope = "Namespaced"
		d.add(collection, k, map[string]endpoint{
			"list": {gv: g.gv, gvk: k.GVK, object: object, answer: list, suffix: k.GVK.Kind + "ForAllNamespaces"},
		})
		collection = top + "/namespaces/{namespace}/" + k.Resource
	}
	one := endpoint{gv: g.gv, gvk: k.GVK, object: object, answer: object, suffix: scope + k.GVK.Kind}
	many, removed, removedAll := one, one, one
	many.answer = list
	removed.answer = reflect.TypeFor[metav1.Status]()
	removedAll.answer, removedAll.suffix = removed.answer, "Collection"+one.suffix
	all := map[string]endpoint{"list": many, "create": one, "deletecollection": removedAll, "get": one, "update": one, "patch": one, "delete": removed}
	onCollection, onItem := map[string]endpoint{}, map[string]endpoint{}
	for _, verb := range k.Verbs() {
		switch verb {
		case "list", "create", "deletecollection":
			onCollection[verb] = all[verb]
		case "get", "update", "patch", "delete":
			onItem[verb] = all[verb]
		}
	}
	item := collection + "/{name}"
	d.add(collection, k, onCollection)
	d.add(item, k, onItem)
	return d.subresources(item, k, one)
}

func (d *described) subresources(item string, k *kinds.Kind, of endpoint) error {
	for _, name := range slices.Sorted(maps.Keys(k.Subresources)) {
		sub := k.Subresources[name]
		object, err := structOf(sub.New())
		if err != nil {
			return err
		}
		e := of
		e.gvk, e.object, e.answer, e.suffix, e.stream = sub.GVK, object, object, of.suffix+title(name), sub.Connect
		if sub.Options != nil {
			options, err := structOf(sub.Options())
			if err != nil {
				return err
			}
			e.options = reflect.Zero(options).Interface()
		}
		endpoints := map[string]endpoint{}
		for _, verb := range sub.Verbs() {
			endpoints[verb] = e
		}
		d.add(item+"/"+name, k, endpoints)
	}
	return nil
}

func (d *described) add(path string, k *kinds.Kind, endpoints map[string]endpoint) {
	item := spec.PathItem{}
	item.Parameters = pathParameters(path, k.GVK.Kind)
	for verb, e := range endpoints {
		a := actions[verb]
		op := d.schemas.operation(a, e)
		switch a.method {
		case http.MethodGet:
			item.Get = op
		case http.MethodPost:
			item.Post = op
		case http.MethodPut:
			item.Put = op
		case http.MethodPatch:
			item.Patch = op
		case http.MethodDelete:
			item.Delete = op
		}
	}
	d.paths[path] = item
}

// merged makes a document of version 2 of the groups together.
func merged(all ...*described) *spec.Swagger {
	doc := &spec.Swagger{SwaggerProps: spec.SwaggerProps{
		Swagger:     "2.0",
		Info:        &spec.Info{InfoProps: spec.InfoProps{Title: "Kubernetes", Version: "v1.37.0"}},
		Paths:       &spec.Paths{Paths: map[string]spec.PathItem{}},
		Definitions: spec.Definitions{},
	}}
	for _, d := range all {
		maps.Copy(doc.Paths.Paths, d.paths)
		maps.Copy(doc.Definitions, d.schemas.definitions)
	}
	return doc
}

// document3 makes the document of version 3 of one group.
func document3(d *described) *spec3.OpenAPI {
	doc := openapiconv.ConvertV2ToV3(merged(d))
	for name, several := range d.schemas.oneOf {
		s := doc.Components.Schemas[name]
		s.Type = nil
		for _, kind := range several {
			s.OneOf = append(s.OneOf, typed(kind, ""))
		}
	}
	return doc
}
