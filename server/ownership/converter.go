package ownership

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// ObjectToTyped implements managedfields.TypeConverter. What a Go type holds fits its schema, so only what a client
// applies is compared with it, which saves a quarter of the cost of an update.
func (t types) ObjectToTyped(obj runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	gvk := obj.GetObjectKind().GroupVersionKind()
	parseable, ok := t[gvk.String()]
	if !ok {
		return nil, runtime.NewNotRegisteredErrForKind("the schema of managed fields", gvk)
	}
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return parseable.FromUnstructured(u.UnstructuredContent(), opts...)
	}
	v, err := value.NewValueReflect(obj)
	if err != nil {
		return nil, err
	}
	//lint:ignore SA1019 it is deprecated since validation has become cheaper, but it still costs that quarter
	return typed.AsTypedUnvalidated(v, parseable.Schema, parseable.TypeRef), nil
}

// TypedToObject implements managedfields.TypeConverter.
func (types) TypedToObject(merged *typed.TypedValue) (runtime.Object, error) {
	content, ok := merged.AsValue().Unstructured().(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the merged object is no map but %T", content)
	}
	return &unstructured.Unstructured{Object: content}, nil
}

// oneVersion is the library's view of a type that exists in one version: there is nothing to convert, and fields that
// were set through another version have no owner. Defaults come later, with the rest of what a write goes through.
type oneVersion struct {
	gvk     schema.GroupVersionKind
	newBody func() runtime.Object
}

// New implements runtime.ObjectCreater.
func (v oneVersion) New(schema.GroupVersionKind) (runtime.Object, error) {
	obj := v.newBody()
	obj.GetObjectKind().SetGroupVersionKind(v.gvk)
	return obj, nil
}

// Default implements runtime.ObjectDefaulter.
func (oneVersion) Default(runtime.Object) {}

// Convert implements runtime.ObjectConvertor.
func (v oneVersion) Convert(_, _, _ any) error { return v.unknown(v.gvk.GroupVersion()) }

// ConvertFieldLabel implements runtime.ObjectConvertor.
func (v oneVersion) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

// ConvertToVersion implements runtime.ObjectConvertor. The result is of the kind's Go type.
func (v oneVersion) ConvertToVersion(in runtime.Object, target runtime.GroupVersioner) (runtime.Object, error) {
	if gv, ok := target.(schema.GroupVersion); ok && gv != v.gvk.GroupVersion() {
		return nil, v.unknown(gv)
	}
	u, ok := in.(*unstructured.Unstructured)
	if !ok {
		return in, nil
	}
	out := v.newBody()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, out); err != nil {
		return nil, err
	}
	out.GetObjectKind().SetGroupVersionKind(v.gvk)
	return out, nil
}

// unknown is an error that lets the library forget the fields of that version.
func (v oneVersion) unknown(gv schema.GroupVersion) error {
	return runtime.NewNotRegisteredErrForKind("the registry of kinds", gv.WithKind(v.gvk.Kind))
}
