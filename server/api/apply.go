package api

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"

	"github.com/google/uuid"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/holt-project/holt/fsm"
)

// configuration is what a server-side apply wants.
type configuration struct {
	// content is what the client sent. It is copied for each attempt, as merging may change it.
	content map[string]any
	manager string
	force   bool
}

// applies reports whether a patch is a server-side apply.
func applies(r *request) bool {
	media, _, err := mime.ParseMediaType(r.http.Header.Get("Content-Type"))
	return err == nil && types.PatchType(media) == types.ApplyYAMLPatchType
}

// apply merges a configuration into the object, or into the part that a subresource stands for; it creates the object
// if there is none.
func (wr *writer) apply(ctx context.Context, r *request, dry bool) (response, error) {
	want, err := readConfiguration(r)
	if err != nil {
		return response{}, err
	}
	for range maxAttempts {
		done, err := wr.modify(ctx, r, r.key(), dry, func(old *fsm.Object) (change, error) {
			body, err := wr.merged(r, old, want)
			if err != nil {
				return change{}, err
			}
			return replaced(r, old, body, applied)
		})
		if err == nil {
			return r.answer(http.StatusOK, done.object)
		}
		if _, exists := wr.store.View().Get(r.key()); !apierrors.IsNotFound(err) || exists || r.sub != nil {
			return response{}, err
		}
		res, err := wr.applyNew(ctx, r, want, dry)
		if !apierrors.IsAlreadyExists(err) {
			return res, err
		}
	}
	return response{}, errModified(r.resource(), r.info.Name)
}

// readConfiguration reads the body and the options of an apply.
func readConfiguration(r *request) (configuration, error) {
	options, err := patchOptions(r, types.ApplyYAMLPatchType)
	if err != nil {
		return configuration{}, err
	}
	directive, err := r.fieldValidation()
	if err != nil {
		return configuration{}, err
	}
	c := configuration{manager: options.FieldManager, force: options.Force != nil && *options.Force}
	data, err := yaml.YAMLToJSON(r.body)
	if err != nil {
		err = fmt.Errorf("error converting YAML to JSON: %w", err)
	} else {
		err = kjson.UnmarshalCaseSensitivePreserveInts(data, &c.content)
	}
	if err == nil && c.content == nil {
		err = errors.New("it is no object")
	}
	if err != nil {
		return c, badRequest("error decoding patch: %v", err)
	}
	if strict := yaml.UnmarshalStrict(r.body, &map[string]any{}); strict != nil { // unknown fields are refused in any case
		if directive == metav1.FieldValidationStrict {
			return c, badRequest("error strict decoding patch: %v", strict)
		}
		r.warn(directive, []error{strict})
	}
	return c, nil
}

// merged returns the body that a put of the merged object would have. Its managedFields are those of the whole object.
func (wr *writer) merged(r *request, old *fsm.Object, want configuration) (runtime.Object, error) {
	u := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(want.content)}
	if r.sub == nil || r.sub.GVK == r.kind.GVK {
		obj, err := wr.owners.Apply(r.kind, r.info.Subresource, old.Value, u, want.manager, want.force)
		return obj, mergeError(err)
	}
	before, err := r.sub.Get(old.Value)
	if err != nil {
		return nil, err
	}
	live, ok := before.(*autoscalingv1.Scale)
	if !ok {
		return nil, errMethod(r.resource(), "apply")
	}
	scale, entries, err := wr.owners.ApplyScale(r.kind, old.Value, live, u, want.manager, want.force)
	if err != nil {
		return nil, mergeError(err)
	}
	scale.ManagedFields = entries
	return scale, nil
}

// mergeError keeps an error that has a Status. Any other is about the configuration; Kubernetes answers it with 500.
func mergeError(err error) error {
	var status apierrors.APIStatus
	if err == nil || errors.As(err, &status) {
		return err
	}
	return statusError(http.StatusInternalServerError, metav1.StatusReasonUnknown, "%v", err)
}

// applyNew creates the object that a configuration describes.
func (wr *writer) applyNew(ctx context.Context, r *request, want configuration, dry bool) (response, error) {
	creates := r.info
	creates.Verb = "create"
	if ok, reason := wr.authz.Authorize(ctx, creates.attributes(r.user)); !ok {
		return response{}, errForbidden(creates.attributes(r.user), reason)
	}
	u := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(want.content)}
	obj, err := wr.owners.Apply(r.kind, "", nil, u, want.manager, want.force)
	if err != nil {
		return response{}, mergeError(err)
	}
	if uid := obj.GetUID(); uid != "" {
		return response{}, apierrors.NewConflict(r.resource(), r.info.Name, fmt.Errorf(
			"uid mismatch: the provided object specified uid %s, and no existing object was found", uid))
	}
	if err := nameApplied(r, obj); err != nil {
		return response{}, err
	}
	obj.SetResourceVersion("") // it had none to be compared with
	if err := r.claim(obj); err != nil {
		return response{}, err
	}
	if r.kind.Default != nil {
		r.kind.Default(obj)
	}
	obj.SetUID(types.UID(uuid.NewString()))
	return wr.createOne(ctx, r, obj, dry)
}

// nameApplied checks that a new object names itself as its URL does: no name is generated for it.
func nameApplied(r *request, obj fsm.Value) error {
	switch name := obj.GetName(); name {
	case r.info.Name:
		return nil
	case "":
		return badRequest("the name of the object (%s based on URL) was undeterminable: name must be provided", r.info.Name)
	default:
		return badRequest("the name of the object (%s) does not match the name on the URL (%s)", name, r.info.Name)
	}
}
