package api

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"reflect"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"github.com/holt-project/holt/fsm"
)

// maxPatchOps is Kubernetes' limit on the operations of a JSON patch.
const maxPatchOps = 10000

func init() {
	// The library's only way to bound the growth by copy operations; the limit is Kubernetes'.
	jsonpatch.AccumulatedCopySizeLimit = maxBody
}

// patcher computes a patched document. sample tells the types of fields (lists' merge keys).
type patcher func(original []byte, sample runtime.Object) ([]byte, error)

// patch changes an object, or the part that a subresource stands for, as a patch says.
func (wr *writer) patch(ctx context.Context, r *request) (response, error) {
	dry, err := dryRun(r.query["dryRun"])
	if err != nil {
		return response{}, err
	}
	if applies(r) {
		return wr.apply(ctx, r, dry)
	}
	apply, err := r.patcher()
	if err != nil {
		return response{}, err
	}
	options, err := patchOptions(r, types.MergePatchType)
	if err != nil {
		return response{}, err
	}
	directive, err := r.fieldValidation()
	if err != nil {
		return response{}, err
	}
	done, err := wr.modify(ctx, r, r.key(), dry, func(old *fsm.Object) (change, error) {
		body, err := r.patched(old, apply, directive)
		if err != nil {
			return change{}, err
		}
		return replaced(r, old, body, wr.updates(r, managerOf(r, options.FieldManager)))
	})
	if err != nil {
		return response{}, err
	}
	return r.answer(http.StatusOK, done.object)
}

func (r *request) patcher() (patcher, error) {
	media, _, err := mime.ParseMediaType(r.http.Header.Get("Content-Type"))
	if err != nil {
		return nil, errMediaType(patchTypes)
	}
	switch types.PatchType(media) {
	case types.JSONPatchType:
		return jsonPatcher(r.body)
	case types.MergePatchType:
		return func(original []byte, _ runtime.Object) ([]byte, error) {
			return refusedPatch(jsonpatch.MergePatch(original, r.body))
		}, isObject(r.body)
	case types.StrategicMergePatchType:
		return func(original []byte, sample runtime.Object) ([]byte, error) {
			return refusedPatch(strategicpatch.StrategicMergePatch(original, r.body, sample))
		}, isObject(r.body)
	}
	return nil, errMediaType(patchTypes)
}

const patchTypes = string(types.JSONPatchType) + ", " + string(types.MergePatchType) + ", " +
	string(types.StrategicMergePatchType) + ", " + string(types.ApplyYAMLPatchType)

func jsonPatcher(body []byte) (patcher, error) {
	patch, err := jsonpatch.DecodePatch(body)
	if err != nil {
		return nil, badRequest("error decoding patch: %v", err)
	}
	if len(patch) > maxPatchOps {
		return nil, apierrors.NewRequestEntityTooLargeError(
			"The allowed maximum operations in a JSON patch is 10000: split the patch")
	}
	return func(original []byte, _ runtime.Object) ([]byte, error) {
		return unprocessable(patch.Apply(original))
	}, nil
}

func isObject(body []byte) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(body, &m); err != nil {
		return badRequest("error decoding patch: %v", err)
	}
	return nil
}

func refusedPatch(data []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, badRequest("error applying patch: %v", err)
	}
	return data, nil
}

// unprocessable is the answer to a JSON patch that does not fit the object.
func unprocessable(data []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, statusError(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, "the patch cannot be applied: %v", err)
	}
	return data, nil
}

// jsonPatches reports whether a patch is a JSON patch, which can read any part of the object.
func jsonPatches(r *request) bool {
	media, _, err := mime.ParseMediaType(r.http.Header.Get("Content-Type"))
	return err == nil && types.PatchType(media) == types.JSONPatchType
}

// withoutOwners returns obj, or a shallow copy without its managedFields. The merging patches replace these as a whole, so
// what was there has no part in the result, and is a good part of what would be encoded and read again.
func withoutOwners(obj runtime.Object) runtime.Object {
	m, ok := obj.(metav1.Object)
	if !ok || len(m.GetManagedFields()) == 0 {
		return obj
	}
	from := reflect.ValueOf(obj).Elem()
	to := reflect.New(from.Type())
	to.Elem().Set(from)
	bare, ok := to.Interface().(runtime.Object)
	if !ok {
		return obj
	}
	bare.(metav1.Object).SetManagedFields(nil)
	return bare
}

// patched returns the body that a put of the patched object would have.
func (r *request) patched(old *fsm.Object, apply patcher, directive string) (runtime.Object, error) {
	from := runtime.Object(old.Value)
	if r.sub != nil && r.sub.Get != nil {
		var err error
		if from, err = r.sub.Get(old.Value); err != nil {
			return nil, err
		}
	}
	if !jsonPatches(r) {
		from = withoutOwners(from)
	}
	original, err := json.Marshal(from)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	body, gvk := r.newBody(), r.bodyGVK()
	data, err := apply(original, body)
	if err != nil {
		return nil, err
	}
	if len(data) > maxBody {
		return nil, apierrors.NewRequestEntityTooLargeError("the patched object is larger than 3 MiB")
	}
	if err := checkType(data, gvk); err != nil {
		return nil, err
	}
	strict, err := kjson.UnmarshalStrict(data, body)
	if err == nil && len(strict) > 0 && directive == metav1.FieldValidationStrict {
		err = runtime.NewStrictDecodingError(strict)
	}
	if err != nil {
		return nil, apierrors.NewInvalid(schema.GroupKind{}, "",
			field.ErrorList{field.Invalid(field.NewPath("patch"), string(r.body), err.Error())})
	}
	r.warnings = nil // an earlier attempt's
	r.warn(directive, strict)
	body.GetObjectKind().SetGroupVersionKind(gvk)
	return body, nil
}
