package api

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1beta1 "k8s.io/apimachinery/pkg/apis/meta/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

var nameColumn = metav1.TableColumnDefinition{Name: "Name", Type: "string", Format: "name",
	Description: metav1.ObjectMeta{}.SwaggerDoc()["name"]}

var ageColumn = metav1.TableColumnDefinition{Name: "Age", Type: "string",
	Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"]}

// columns are the kind's own with the name before them, unless it is among them. A kind without any shows name and age.
func columns(k *kinds.Kind) (defs []metav1.TableColumnDefinition, named bool) {
	if k.Cells == nil {
		return []metav1.TableColumnDefinition{nameColumn, ageColumn}, false
	}
	for _, c := range k.Columns {
		if c.Name == nameColumn.Name {
			return k.Columns, true
		}
	}
	return append([]metav1.TableColumnDefinition{nameColumn}, k.Columns...), false
}

func cells(k *kinds.Kind, v fsm.Value, named bool, now time.Time) []any {
	switch {
	case k.Cells == nil:
		age := "<unknown>"
		if at := v.GetCreationTimestamp(); !at.IsZero() {
			age = duration.HumanDuration(now.Sub(at.Time))
		}
		return []any{v.GetName(), age}
	case named:
		return k.Cells(v, now)
	}
	return append([]any{v.GetName()}, k.Cells(v, now)...)
}

// table is what kubectl prints. include is None, Metadata (the default) or Object: what each row carries along.
func (o *responder) table(k *kinds.Kind, items []*fsm.Object, meta metav1.ListMeta, version, include string) (*metav1.Table, error) {
	defs, named := columns(k)
	t := &metav1.Table{ListMeta: meta, ColumnDefinitions: defs, Rows: make([]metav1.TableRow, 0, len(items))}
	t.SetGroupVersionKind(schema.GroupVersionKind{Group: metav1.GroupName, Version: version, Kind: "Table"})
	now := o.now()
	for _, item := range items {
		row := metav1.TableRow{Cells: cells(k, item.Value, named, now)}
		switch metav1.IncludeObjectPolicy(include) {
		case metav1.IncludeNone:
		case metav1.IncludeObject:
			data, err := itemBytes(item, formatJSON)
			if err != nil {
				return nil, err
			}
			row.Object.Raw = data
		case metav1.IncludeMetadata, "":
			row.Object.Object = partial(item.Value, version)
		default:
			return nil, badRequest("unrecognized includeObject value: %q (want None, Metadata or Object)", include)
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

// partial is an object without anything but its metadata.
func partial(v fsm.Value, version string) runtime.Object {
	p := &metav1.PartialObjectMetadata{ObjectMeta: objectMeta(v)}
	p.SetGroupVersionKind(metaGVK(version, "PartialObjectMetadata"))
	return p
}

func partialList(items []*fsm.Object, meta metav1.ListMeta, version string) runtime.Object {
	all := make([]metav1.PartialObjectMetadata, len(items))
	for i, o := range items {
		all[i] = *(partial(o.Value, version).(*metav1.PartialObjectMetadata))
	}
	if version == "v1beta1" { // its list has other protobuf numbers
		l := &metav1beta1.PartialObjectMetadataList{ListMeta: meta, Items: all}
		l.SetGroupVersionKind(metaGVK(version, "PartialObjectMetadataList"))
		return l
	}
	l := &metav1.PartialObjectMetadataList{ListMeta: meta, Items: all}
	l.SetGroupVersionKind(metaGVK(version, "PartialObjectMetadataList"))
	return l
}

func metaGVK(version, kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: metav1.GroupName, Version: version, Kind: kind}
}

func objectMeta(v fsm.Value) metav1.ObjectMeta {
	if a, ok := v.(metav1.ObjectMetaAccessor); ok {
		if m, ok := a.GetObjectMeta().(*metav1.ObjectMeta); ok {
			return *m
		}
	}
	return metav1.ObjectMeta{
		Name: v.GetName(), GenerateName: v.GetGenerateName(), Namespace: v.GetNamespace(), UID: v.GetUID(),
		ResourceVersion: v.GetResourceVersion(), Generation: v.GetGeneration(), CreationTimestamp: v.GetCreationTimestamp(),
		DeletionTimestamp: v.GetDeletionTimestamp(), DeletionGracePeriodSeconds: v.GetDeletionGracePeriodSeconds(),
		Labels: v.GetLabels(), Annotations: v.GetAnnotations(), OwnerReferences: v.GetOwnerReferences(),
		Finalizers: v.GetFinalizers(), ManagedFields: v.GetManagedFields(),
	}
}
