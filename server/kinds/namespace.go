package kinds

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

func namespace() *Kind {
	gvk := corev1.SchemeGroupVersion.WithKind("Namespace")
	newBody := func() fsm.Value { return &corev1.Namespace{} }
	return &Kind{
		GVK:      gvk,
		Resource: "namespaces", Singular: "namespace", ShortNames: []string{"ns"},
		New:          newBody,
		NewList:      func() runtime.Object { return &corev1.NamespaceList{} },
		Default:      defaultNamespace,
		Prepare:      prepareNamespace,
		Validate:     validateNamespace,
		ValidateName: apivalidation.ValidateNamespaceName,
		Subresources: map[string]Subresource{
			"status": statusOf(gvk, newBody, func(obj, body *corev1.Namespace) field.ErrorList {
				obj.Status = body.Status
				return nil
			}),
			// The namespace's controller takes its finalizer away here, and nothing else can.
			"finalize": {
				GVK: gvk,
				New: func() runtime.Object { return newBody() },
				Update: func(obj fsm.Value, body runtime.Object) field.ErrorList {
					ns := obj.(*corev1.Namespace)
					ns.Spec.Finalizers = slices.Clone(body.(*corev1.Namespace).Spec.Finalizers)
					return validateNamespace(ns)
				},
			},
		},
		Fields: func(obj fsm.Value) fields.Set {
			return fields.Set{"status.phase": string(obj.(*corev1.Namespace).Status.Phase)}
		},
		Columns: []metav1.TableColumnDefinition{
			column("Status", "string", "The status of the namespace"), ageColumn(),
		},
		Cells: func(obj fsm.Value, now time.Time) []any {
			return []any{string(obj.(*corev1.Namespace).Status.Phase), age(obj, now)}
		},
	}
}

// defaultNamespace labels a namespace with its name, so that selectors of namespaces can tell them apart.
func defaultNamespace(obj fsm.Value) {
	ns := obj.(*corev1.Namespace)
	if ns.Name == "" {
		return
	}
	if ns.Labels == nil {
		ns.Labels = map[string]string{}
	}
	ns.Labels[corev1.LabelMetadataName] = ns.Name
}

// prepareNamespace adds the finalizer that keeps a namespace until its contents are gone.
func prepareNamespace(obj, before fsm.Value) {
	ns := obj.(*corev1.Namespace)
	defaultNamespace(obj)
	if before != nil {
		old := before.(*corev1.Namespace)
		ns.Spec.Finalizers, ns.Status = old.Spec.Finalizers, old.Status
		return
	}
	ns.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
	if !slices.Contains(ns.Spec.Finalizers, corev1.FinalizerKubernetes) {
		ns.Spec.Finalizers = append(ns.Spec.Finalizers, corev1.FinalizerKubernetes)
	}
}

func validateNamespace(obj fsm.Value) field.ErrorList {
	var errs field.ErrorList
	for i, name := range obj.(*corev1.Namespace).Spec.Finalizers {
		at := field.NewPath("spec", "finalizers").Index(i)
		if name == corev1.FinalizerKubernetes {
			continue
		}
		messages := validation.IsQualifiedName(string(name))
		if len(messages) == 0 && !strings.Contains(string(name), "/") {
			messages = []string{"name is neither a standard finalizer name nor is it fully qualified"}
		}
		errs = append(errs, invalid(at, string(name), messages)...)
	}
	return errs
}
