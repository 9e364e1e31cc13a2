package api

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"strconv"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/admission"
)

// Generated names: Kubernetes' suffix of five letters and digits, on a base that leaves room for it.
const (
	suffixLength   = 5
	maxGenerated   = 63 - suffixLength
	generatedTries = 8
)

// create stores a new object.
func (wr *writer) create(ctx context.Context, r *request) (response, error) {
	dry, err := dryRun(r.query["dryRun"])
	if err != nil {
		return response{}, err
	}
	sent := r.kind.New()
	if err := r.decodeBody(sent, r.kind.GVK); err != nil {
		return response{}, err
	}
	owner, err := manager(r, "CreateOptions")
	if err != nil {
		return response{}, err
	}
	if err := r.claim(sent); err != nil {
		return response{}, err
	}
	if r.kind.Default != nil {
		r.kind.Default(sent)
	}
	wr.owners.Update(r.kind, "", nil, sent, owner)
	uid := types.UID(uuid.NewString())
	generated := sent.GetName() == "" && sent.GetGenerateName() != ""
	for try := range generatedTries {
		obj := sent.DeepCopyObject().(fsm.Value)
		obj.SetUID(uid)
		if generated {
			base := obj.GetGenerateName()
			obj.SetName(base[:min(len(base), maxGenerated)] + suffix(uid, try))
		}
		res, err := wr.createOne(ctx, r, obj, dry)
		if generated && apierrors.IsAlreadyExists(err) {
			continue
		}
		return res, err
	}
	return response{}, apierrors.NewGenerateNameConflict(r.resource(), sent.GetGenerateName(), retrySeconds)
}

// suffix completes a generated name. It hangs on the UID, which is random.
func suffix(uid types.UID, try int) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", uid, try)
	return rand.SafeEncodeString(strconv.FormatUint(h.Sum64(), 36))[:suffixLength]
}

// claim checks the namespace and sets the metadata that the server alone decides.
func (r *request) claim(obj fsm.Value) error {
	if err := r.matchNamespace(obj); err != nil {
		return err
	}
	if obj.GetResourceVersion() != "" {
		return badRequest("resourceVersion should not be set on objects to be created")
	}
	obj.SetSelfLink("")
	obj.SetDeletionTimestamp(nil)
	obj.SetDeletionGracePeriodSeconds(nil)
	obj.SetGeneration(0)
	return nil
}

// matchNamespace makes the object's namespace that of the URL.
func (r *request) matchNamespace(obj fsm.Value) error {
	want := r.info.Namespace
	if !r.kind.Namespaced {
		want = ""
	}
	if ns := obj.GetNamespace(); ns != "" && ns != want {
		return badRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	obj.SetNamespace(want)
	return nil
}

// createOne stores obj, whose defaults, owners and UID are set.
func (wr *writer) createOne(ctx context.Context, r *request, obj fsm.Value, dry bool) (response, error) {
	obj.SetCreationTimestamp(metav1.NewTime(wr.now().Truncate(secondPrecision)))
	if r.kind.Prepare != nil {
		r.kind.Prepare(obj, nil)
	}
	view := wr.store.View()
	key := r.kind.Key(obj.GetNamespace(), obj.GetName())
	a := r.attributes(admission.Create, key, view, dry)
	a.Object = obj
	result := admission.Abandoned
	defer func() { a.Decide(result) }()
	if err := admission.Run(ctx, wr.steps, a); err != nil {
		return response{}, err
	}
	if errs := r.validateAll(obj, nil); len(errs) > 0 {
		return response{}, apierrors.NewInvalid(r.kind.GVK.GroupKind(), obj.GetName(), errs)
	}
	if dry {
		if _, exists := view.Get(key); exists {
			return response{}, apierrors.NewAlreadyExists(r.resource(), key.Name)
		}
		return response{code: http.StatusCreated, object: preview(nil, obj)}, nil
	}
	raw, err := r.kind.Encode(obj)
	if err != nil {
		return response{}, apierrors.NewInternalError(err)
	}
	res, err := wr.propose(ctx, r, fsm.Op{Verb: fsm.Create, Resource: key.Resource, Namespace: key.Namespace, Name: key.Name, Raw: raw})
	result = outcomeOf(res, err)
	switch {
	case err != nil:
		return response{}, err
	case errors.Is(res.Err, fsm.ErrExists):
		return response{}, apierrors.NewAlreadyExists(r.resource(), key.Name)
	case res.Err != nil:
		return response{}, res.Err
	}
	return response{code: http.StatusCreated, object: res.Object}, nil
}
