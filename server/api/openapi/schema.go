package openapi

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

const (
	definitionPrefix = "#/definitions/"
	extensionGVK     = "x-kubernetes-group-version-kind"
	extensionAction  = "x-kubernetes-action"
)

// schemas collects the definitions of Go types, in the form of version 2.
type schemas struct {
	definitions spec.Definitions
	// gvks are the types on the wire that a Go type stands for.
	gvks map[reflect.Type][]schema.GroupVersionKind
	// oneOf are the definitions that have, in version 3, several primitive types in place of one.
	oneOf map[string][]string
}

func newSchemas(gvks map[reflect.Type][]schema.GroupVersionKind) *schemas {
	return &schemas{definitions: spec.Definitions{}, gvks: gvks, oneOf: map[string][]string{}}
}

// of returns the schema of a type: a reference for a struct, which is then defined too.
func (s *schemas) of(t reflect.Type) spec.Schema {
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Struct:
		return s.reference(t)
	case reflect.Map:
		value := s.of(t.Elem())
		return *spec.MapProperty(&value)
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return typed("string", "byte")
		}
		item := s.of(t.Elem())
		return *spec.ArrayProperty(&item)
	case reflect.Interface:
		return typed("object", "")
	}
	return primitive(t.Kind())
}

func primitive(kind reflect.Kind) spec.Schema {
	switch kind {
	case reflect.Bool:
		return typed("boolean", "")
	case reflect.Int64, reflect.Uint64, reflect.Uint32:
		return typed("integer", "int64")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Uint, reflect.Uint8, reflect.Uint16:
		return typed("integer", "int32")
	case reflect.Float32, reflect.Float64:
		return typed("number", "double")
	}
	return typed("string", "")
}

func typed(name, format string) spec.Schema {
	return spec.Schema{SchemaProps: spec.SchemaProps{Type: spec.StringOrArray{name}, Format: format}}
}

func (s *schemas) reference(t reflect.Type) spec.Schema {
	name := modelName(t)
	if _, known := s.definitions[name]; !known {
		// The name is taken before the fields are followed: types refer to themselves.
		s.definitions[name] = spec.Schema{}
		s.definitions[name] = s.define(t, name)
	}
	return *spec.RefSchema(definitionPrefix + name)
}

// modelName is the name that the type's package gives it, or one made of the package's path in the same way:
// io.k8s.api.core.v1.Pod.
func modelName(t reflect.Type) string {
	if named, ok := reflect.Zero(t).Interface().(interface{ OpenAPIModelName() string }); ok {
		return named.OpenAPIModelName()
	}
	host, path, _ := strings.Cut(t.PkgPath(), "/")
	parts := strings.Split(host, ".")
	slices.Reverse(parts)
	return strings.Join(append(append(parts, strings.Split(path, "/")...), t.Name()), ".")
}

func (s *schemas) define(t reflect.Type, name string) spec.Schema {
	var defined spec.Schema
	if custom, ok := reflect.Zero(t).Interface().(interface {
		OpenAPISchemaType() []string
		OpenAPISchemaFormat() string
	}); ok {
		defined = typed(custom.OpenAPISchemaType()[0], custom.OpenAPISchemaFormat())
		if several, ok := custom.(interface{ OpenAPIV3OneOfTypes() []string }); ok {
			s.oneOf[name] = several.OpenAPIV3OneOfTypes()
		}
		if defined.Format == "int-or-string" {
			defined.AddExtension("x-kubernetes-int-or-string", true)
		}
	} else {
		defined = typed("object", "")
		s.fields(t, &defined)
		slices.Sort(defined.Required)
	}
	defined.Description = describe(t)[""]
	if gvks := s.gvks[t]; len(gvks) > 0 {
		values := make([]any, len(gvks))
		for i, gvk := range gvks {
			values[i] = gvkValue(gvk)
		}
		defined.AddExtension(extensionGVK, values)
	}
	return defined
}

func gvkValue(gvk schema.GroupVersionKind) map[string]any {
	return map[string]any{"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind}
}

// describe returns the documentation of a type's fields by their names on the wire, and its own by the empty name.
func describe(t reflect.Type) map[string]string {
	if documented, ok := reflect.Zero(t).Interface().(interface{ SwaggerDoc() map[string]string }); ok {
		return documented.SwaggerDoc()
	}
	return nil
}

// fields adds the fields of a struct; those of an embedded one without a name of its own become the outer one's.
func (s *schemas) fields(t reflect.Type, into *spec.Schema) {
	doc := describe(t)
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if name == "" && f.Anonymous {
			s.fields(dereference(f.Type), into)
			continue
		}
		if name == "" {
			name = f.Name
		}
		property := s.of(f.Type)
		property.Description = doc[name]
		if strategy := f.Tag.Get("patchStrategy"); strategy != "" {
			property.AddExtension("x-kubernetes-patch-strategy", strategy)
		}
		if key := f.Tag.Get("patchMergeKey"); key != "" {
			property.AddExtension("x-kubernetes-patch-merge-key", key)
		}
		into.SetProperty(name, property)
		if !strings.Contains(options, "omitempty") {
			into.Required = append(into.Required, name)
		}
	}
}

func dereference(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// structOf returns the struct type behind an object of the API.
func structOf(object any) (reflect.Type, error) {
	t := reflect.TypeOf(object)
	if t == nil || dereference(t).Kind() != reflect.Struct {
		return nil, fmt.Errorf("openapi: %T is not a struct", object)
	}
	return dereference(t), nil
}
