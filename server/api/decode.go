package api

import (
	"bytes"
	"encoding/json"
	"mime"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// protoMessage is what generated types that can be read from protobuf implement.
type protoMessage interface{ Unmarshal([]byte) error }

// decodeBody reads the request's body into obj, which must be of type gvk. Unknown and duplicate fields are refused,
// warned of or ignored as the request asks.
func (r *request) decodeBody(obj runtime.Object, gvk schema.GroupVersionKind) error {
	media := r.http.Header.Get("Content-Type")
	if media != "" {
		parsed, _, err := mime.ParseMediaType(media)
		if err != nil {
			return errMediaType(acceptedTypes)
		}
		media = parsed
	}
	directive, err := r.fieldValidation()
	if err != nil {
		return err
	}
	var strict []error
	switch media {
	case typeProtobuf:
		err = decodeProtobuf(r.body, obj, gvk)
	case typeYAML:
		strict, err = decodeYAML(r.body, obj, gvk)
	case typeJSON, "*/*", "":
		strict, err = decodeJSON(r.body, obj, gvk)
	default:
		return errMediaType(acceptedTypes)
	}
	if err == nil && len(strict) > 0 && directive == metav1.FieldValidationStrict {
		err = runtime.NewStrictDecodingError(strict)
	}
	if err != nil {
		return cannotDecode(gvk, err)
	}
	r.warn(directive, strict)
	obj.GetObjectKind().SetGroupVersionKind(gvk)
	return nil
}

func (r *request) warn(directive string, strict []error) {
	if directive != metav1.FieldValidationWarn {
		return
	}
	for _, e := range strict {
		r.warnings = append(r.warnings, e.Error())
	}
}

func cannotDecode(gvk schema.GroupVersionKind, err error) error {
	return badRequest("%s in version %q cannot be handled as a %s: %v", gvk.Kind, gvk.Version, gvk.Kind, err)
}

// decodeJSON returns, besides a fatal error, what a strict reader objects to.
func decodeJSON(data []byte, obj any, gvk schema.GroupVersionKind) (strict []error, err error) {
	if err := checkType(data, gvk); err != nil {
		return nil, err
	}
	return kjson.UnmarshalStrict(data, obj)
}

func decodeYAML(data []byte, obj any, gvk schema.GroupVersionKind) (strict []error, err error) {
	j, err := yaml.YAMLToJSON(data)
	if err != nil {
		return nil, err
	}
	if strict, err = decodeJSON(j, obj, gvk); err != nil {
		return nil, err
	}
	if _, err := yaml.YAMLToJSONStrict(data); err != nil { // keys that stand twice are lost in j
		strict = append([]error{err}, strict...)
	}
	return strict, nil
}

func decodeProtobuf(data []byte, obj any, gvk schema.GroupVersionKind) error {
	m, ok := obj.(protoMessage)
	if !ok {
		return errMediaType(typeJSON + ", " + typeYAML)
	}
	raw, ok := bytes.CutPrefix(data, []byte(protobufMagic))
	if !ok {
		return badRequest("the body does not begin with the bytes of a Kubernetes protobuf message")
	}
	var u runtime.Unknown
	if err := u.Unmarshal(raw); err != nil {
		return err
	}
	if err := sameType(metav1.TypeMeta{APIVersion: u.APIVersion, Kind: u.Kind}, gvk); err != nil {
		return err
	}
	return m.Unmarshal(u.Raw)
}

// checkType compares the type that a JSON object names, if any, with the one that the URL stands for.
func checkType(data []byte, gvk schema.GroupVersionKind) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return badRequest("the request has no body")
	}
	var t metav1.TypeMeta
	if err := json.Unmarshal(data, &t); err != nil {
		return err
	}
	return sameType(t, gvk)
}

func sameType(t metav1.TypeMeta, gvk schema.GroupVersionKind) error {
	if t.APIVersion != "" && t.APIVersion != gvk.GroupVersion().String() {
		return badRequest("the API version in the data (%s) does not match the expected API version (%s)",
			t.APIVersion, gvk.GroupVersion())
	}
	if t.Kind != "" && t.Kind != gvk.Kind {
		return badRequest("the kind in the data (%s) does not match the expected kind (%s)", t.Kind, gvk.Kind)
	}
	return nil
}
