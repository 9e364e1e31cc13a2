package ownership

import (
	_ "embed"
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"
	"github.com/klauspost/compress/zstd"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// packed is the schema of every stable built-in type: a packedSchema as CBOR, compressed with zstd.
//
//go:embed schema.bin
var packed []byte

// packedSchema is the form of a schema in the file.
type packedSchema struct {
	_ struct{} `cbor:",toarray"`
	// Names are the type names by "GROUP/VERSION, KIND" as GVK.String writes them.
	Names map[string]string
	Types []packedType
}

type packedType struct {
	_    struct{} `cbor:",toarray"`
	Name string
	Atom packedAtom
}

// packedAtom says what a value may be; any of its fields may be empty.
type packedAtom struct {
	_      struct{} `cbor:",toarray"`
	Scalar string
	List   *packedList
	Map    *packedMap
}

type packedList struct {
	_            struct{} `cbor:",toarray"`
	Element      packedRef
	Relationship string
	Keys         []string
}

type packedMap struct {
	_            struct{} `cbor:",toarray"`
	Fields       []packedField
	Element      packedRef
	Relationship string
}

type packedField struct {
	_       struct{} `cbor:",toarray"`
	Name    string
	Type    packedRef
	Default any
}

// packedRef names a type or holds one.
type packedRef struct {
	_            struct{} `cbor:",toarray"`
	Named        string
	Inlined      *packedAtom
	Relationship string
	Nullable     bool
}

// types are the schema's, by the String of their GVK.
type types map[string]typed.ParseableType

// unpack reads the embedded schema.
func unpack(data []byte) (types, error) {
	reader, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	defer reader.Close()
	plain, err := reader.DecodeAll(data, nil)
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	mode, err := cbor.DecOptions{IntDec: cbor.IntDecConvertSignedOrFail, DefaultMapType: reflect.TypeFor[map[string]any]()}.DecMode()
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	var p packedSchema
	if err := mode.Unmarshal(plain, &p); err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	s := &schema.Schema{Types: make([]schema.TypeDef, len(p.Types))}
	for i, t := range p.Types {
		s.Types[i] = schema.TypeDef{Name: t.Name, Atom: t.Atom.unpack()}
	}
	all := make(types, len(p.Names))
	for gvk, name := range p.Names {
		all[gvk] = typed.ParseableType{Schema: s, TypeRef: schema.TypeRef{NamedType: &name}}
	}
	return all, nil
}

func (a packedAtom) unpack() schema.Atom {
	var out schema.Atom
	if a.Scalar != "" {
		scalar := schema.Scalar(a.Scalar)
		out.Scalar = &scalar
	}
	if a.List != nil {
		out.List = &schema.List{ElementType: a.List.Element.unpack(), Keys: a.List.Keys,
			ElementRelationship: schema.ElementRelationship(a.List.Relationship)}
	}
	if a.Map != nil {
		out.Map = &schema.Map{ElementType: a.Map.Element.unpack(),
			ElementRelationship: schema.ElementRelationship(a.Map.Relationship)}
		for _, f := range a.Map.Fields {
			out.Fields = append(out.Fields, schema.StructField{Name: f.Name, Type: f.Type.unpack(), Default: f.Default})
		}
	}
	return out
}

func (r packedRef) unpack() schema.TypeRef {
	out := schema.TypeRef{Nullable: r.Nullable}
	if r.Named != "" {
		out.NamedType = &r.Named
	}
	if r.Inlined != nil {
		out.Inlined = r.Inlined.unpack()
	}
	if r.Relationship != "" {
		relationship := schema.ElementRelationship(r.Relationship)
		out.ElementRelationship = &relationship
	}
	return out
}
