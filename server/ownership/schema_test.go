package ownership

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gvk "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
)

var update = flag.Bool("update", false, "write schema.bin anew from client-go's schema")

// TestSchema compares the embedded schema with client-go's.
func TestSchema(t *testing.T) {
	want := clientGo(t)
	if *update {
		write(t, want)
		return
	}
	all, err := unpack(packed)
	if err != nil {
		t.Fatal(err)
	}
	got := packedSchema{Names: map[string]string{}}
	for kind, parseable := range all {
		got.Names[kind] = *parseable.TypeRef.NamedType
		if got.Types == nil {
			for _, def := range parseable.Schema.Types {
				got.Types = append(got.Types, packedType{Name: def.Name, Atom: pack(def.Atom)})
			}
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(packedSchema{}, packedType{}, packedAtom{}, packedList{},
		packedMap{}, packedField{}, packedRef{})); diff != "" {
		t.Fatalf("the schema is not client-go's; run this test with -update: %s", diff)
	}
}

// clientGo is what client-go's schema says of the types of all stable kinds.
func clientGo(t *testing.T) packedSchema {
	t.Helper()
	converter := applyconfigurations.NewTypeConverter(scheme.Scheme)
	out := packedSchema{Names: map[string]string{}}
	var all *schema.Schema
	var pending []string
	for kind := range scheme.Scheme.AllKnownTypes() {
		if !stable(kind) {
			continue
		}
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(kind)
		value, err := converter.ObjectToTyped(u)
		if err != nil { // lists, options and what is only posted have no type there
			continue
		}
		all = value.Schema()
		out.Names[kind.String()] = *value.TypeRef().NamedType
		pending = append(pending, out.Names[kind.String()])
	}
	for _, t := range scaleTypes() {
		out.Types = append(out.Types, t)
		pending = t.Atom.names(pending)
	}
	out.Names[autoscalingv1.SchemeGroupVersion.WithKind("Scale").String()] = scaleName
	seen := map[string]bool{scaleName: true, scaleName + "Spec": true, scaleName + "Status": true}
	for len(pending) > 0 {
		name := pending[0]
		pending = pending[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		def, ok := all.FindNamedType(name)
		if !ok {
			t.Fatalf("the schema has no type %s", name)
		}
		packed := packedType{Name: name, Atom: pack(def.Atom)}
		out.Types = append(out.Types, packed)
		pending = packed.Atom.names(pending)
	}
	slices.SortFunc(out.Types, func(a, b packedType) int { return strings.Compare(a.Name, b.Name) })
	return out
}

const scaleName = "io.k8s.api.autoscaling.v1.Scale"

// scaleTypes describe the one type that can be applied and that client-go's schema leaves out.
func scaleTypes() []packedType {
	object := func(name string, fields ...packedField) packedType {
		return packedType{Name: name, Atom: packedAtom{Map: &packedMap{Fields: fields}}}
	}
	member := func(name, scalar string) packedField {
		return packedField{Name: name, Type: packedRef{Inlined: &packedAtom{Scalar: scalar}}}
	}
	part := func(name, kind string) packedField {
		return packedField{Name: name, Type: packedRef{Named: kind}, Default: map[string]any{}}
	}
	return []packedType{
		object(scaleName, member("apiVersion", "string"), member("kind", "string"),
			part("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
			part("spec", scaleName+"Spec"), part("status", scaleName+"Status")),
		object(scaleName+"Spec", member("replicas", "numeric")),
		object(scaleName+"Status", member("replicas", "numeric"), member("selector", "string")),
	}
}

func stable(kind gvk.GroupVersionKind) bool {
	return !strings.Contains(kind.Version, "alpha") && !strings.Contains(kind.Version, "beta")
}

// names appends the names of the types that a refers to.
func (a packedAtom) names(to []string) []string {
	if a.List != nil {
		to = a.List.Element.names(to)
	}
	if a.Map != nil {
		to = a.Map.Element.names(to)
		for _, f := range a.Map.Fields {
			to = f.Type.names(to)
		}
	}
	return to
}

func (r packedRef) names(to []string) []string {
	if r.Named != "" {
		to = append(to, r.Named)
	}
	if r.Inlined != nil {
		to = r.Inlined.names(to)
	}
	return to
}

// pack leaves unions out: structured-merge-diff reads them and does nothing with them.
func pack(a schema.Atom) packedAtom {
	var out packedAtom
	if a.Scalar != nil {
		out.Scalar = string(*a.Scalar)
	}
	if a.List != nil {
		out.List = &packedList{Element: packRef(a.List.ElementType), Keys: a.List.Keys,
			Relationship: string(a.List.ElementRelationship)}
	}
	if a.Map != nil {
		out.Map = &packedMap{Element: packRef(a.Map.ElementType), Relationship: string(a.Map.ElementRelationship)}
		for _, f := range a.Map.Fields {
			out.Map.Fields = append(out.Map.Fields, packedField{Name: f.Name, Type: packRef(f.Type), Default: packDefault(f.Default)})
		}
	}
	return out
}

func packRef(r schema.TypeRef) packedRef {
	out := packedRef{Nullable: r.Nullable}
	if r.NamedType != nil {
		out.Named = *r.NamedType
	}
	if r.Inlined != (schema.Atom{}) {
		inlined := pack(r.Inlined)
		out.Inlined = &inlined
	}
	if r.ElementRelationship != nil {
		out.Relationship = string(*r.ElementRelationship)
	}
	return out
}

// packDefault gives numbers and maps the types that CBOR brings back.
func packDefault(value any) any {
	switch v := value.(type) {
	case int:
		return int64(v)
	case map[any]any:
		out := map[string]any{}
		for key, item := range v {
			out[key.(string)] = packDefault(item)
		}
		return out
	}
	return value
}

func write(t *testing.T, p packedSchema) {
	t.Helper()
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := mode.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	writer, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		t.Fatal(err)
	}
	data := writer.EncodeAll(plain, nil)
	if err := os.WriteFile("schema.bin", data, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kinds, %d types, %d bytes, %d packed", len(p.Names), len(p.Types), len(plain), len(data))
}
