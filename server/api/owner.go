package api

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

// owning sets the managedFields of obj, the next state of old. body is what the client sent, or what it stands for.
type owning func(old, obj fsm.Value, body runtime.Object) error

// updates makes manager the owner of what an update or patch changes.
func (wr *writer) updates(r *request, manager string) owning {
	return func(old, obj fsm.Value, body runtime.Object) error {
		switch scale, scales := body.(*autoscalingv1.Scale); {
		case r.sub == nil, r.sub.GVK == r.kind.GVK:
			wr.owners.Update(r.kind, r.info.Subresource, old, obj, manager)
		case scales:
			return wr.updatesScale(r, old, obj, scale, manager)
		}
		return nil
	}
}

func (wr *writer) updatesScale(r *request, old, obj fsm.Value, scale *autoscalingv1.Scale, manager string) error {
	before, err := r.sub.Get(old)
	if err != nil {
		return err
	}
	entries, err := wr.owners.UpdateScale(r.kind, old, before.(*autoscalingv1.Scale), scale, manager)
	if err == nil {
		obj.SetManagedFields(entries)
	}
	return nil // what cannot be told stays as it was, as with any other update
}

// applied takes the managedFields that an apply has put into the body.
func applied(_, obj fsm.Value, body runtime.Object) error {
	obj.SetManagedFields(body.(metav1.Object).GetManagedFields())
	return nil
}

// manager is the name under which a create or update owns fields. options is the kind of the request's options.
func manager(r *request, options string) (string, error) {
	name := r.query.Get("fieldManager")
	if errs := metav1validation.ValidateFieldManager(name, field.NewPath("fieldManager")); len(errs) > 0 {
		return "", invalidOptions(options, errs)
	}
	return managerOf(r, name), nil
}

// patchOptions reads and checks the options about owners of a patch of that type.
func patchOptions(r *request, kind types.PatchType) (metav1.PatchOptions, error) {
	o := metav1.PatchOptions{FieldManager: r.query.Get("fieldManager")}
	if r.query.Has("force") {
		force := isTrue(r.query.Get("force"))
		o.Force = &force
	}
	if errs := metav1validation.ValidatePatchOptions(&o, kind); len(errs) > 0 {
		return o, invalidOptions("PatchOptions", errs)
	}
	return o, nil
}

func invalidOptions(kind string, errs field.ErrorList) error {
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: kind}, "", errs)
}

// managerOf is name, or what stands for a client that gives none: the first part of its User-Agent.
func managerOf(r *request, name string) string {
	if name != "" {
		return name
	}
	agent, _, _ := strings.Cut(r.http.UserAgent(), "/")
	var b strings.Builder
	for _, c := range agent {
		if !unicode.IsPrint(c) {
			continue
		}
		if b.Len()+utf8.RuneLen(c) > metav1validation.FieldManagerMaxLength {
			break
		}
		b.WriteRune(c)
	}
	return b.String()
}

// keepTimes gives a change that only the times of its owners make one those of old: it is none then.
func keepTimes(k *kinds.Kind, op *fsm.Op, old *fsm.Object, obj fsm.Value) error {
	if op.Verb != fsm.Update || obj == nil || bytes.Equal(op.Raw, old.Raw) {
		return nil
	}
	before, after := old.Value.GetManagedFields(), obj.GetManagedFields()
	if !sameOwners(before, after) {
		return nil
	}
	obj.SetManagedFields(before)
	raw, err := k.Encode(obj)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	if bytes.Equal(raw, old.Raw) {
		op.Raw = raw
		return nil
	}
	obj.SetManagedFields(after)
	return nil
}

// sameOwners reports whether two lists differ in times, and in nothing else.
func sameOwners(a, b []metav1.ManagedFieldsEntry) bool {
	if len(a) != len(b) {
		return false
	}
	times := false
	for i, x := range a {
		y := b[i]
		if x.Manager != y.Manager || x.Operation != y.Operation || x.APIVersion != y.APIVersion ||
			x.Subresource != y.Subresource || x.FieldsType != y.FieldsType || !sameFields(x.FieldsV1, y.FieldsV1) {
			return false
		}
		times = times || !x.Time.Equal(y.Time)
	}
	return times
}

func sameFields(a, b *metav1.FieldsV1) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}
