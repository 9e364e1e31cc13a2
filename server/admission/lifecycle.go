package admission

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

// namespaces is the group resource of Namespace objects.
var namespaces = corev1.Resource("namespaces")

// immortal are the namespaces that the cluster cannot do without.
var immortal = map[string]bool{
	metav1.NamespaceDefault: true, metav1.NamespaceSystem: true, metav1.NamespacePublic: true,
}

// Linearizer waits until the store shows everything that was committed before the call.
type Linearizer interface {
	Linearize(ctx context.Context) error
}

// Viewer shows the store's present state.
type Viewer interface {
	View() fsm.View
}

// NamespaceLifecycle returns the step that lets objects be created only in a namespace that exists and is not being
// deleted, and that keeps the namespaces default, kube-system and kube-public from deletion.
func NamespaceLifecycle(store Viewer, lin Linearizer) Step {
	return func(ctx context.Context, a *Attributes) error {
		switch {
		case a.Operation == Delete && a.Kind.GroupResource() == namespaces && a.Subresource == "" && immortal[a.Name]:
			return apierrors.NewForbidden(namespaces, a.Name, errors.New("this namespace may not be deleted"))
		case a.Operation != Create || !a.Kind.Namespaced || a.Subresource != "":
			return nil
		}
		ns, ok := namespace(a.View, a.Namespace)
		if !ok { // a new leader may lag behind what it has committed: look again before refusing
			if err := lin.Linearize(ctx); err != nil {
				return err
			}
			if ns, ok = namespace(store.View(), a.Namespace); !ok {
				return apierrors.NewNotFound(namespaces, a.Namespace)
			}
		}
		if ns.GetDeletionTimestamp() != nil {
			return terminating(a.Kind, a.Name, a.Namespace)
		}
		return nil
	}
}

func namespace(v fsm.View, name string) (fsm.Value, bool) {
	o, ok := v.Get(fsm.Key{Resource: namespaces.String(), Name: name})
	if !ok {
		return nil, false
	}
	return o.Value, true
}

// terminating is Kubernetes' refusal; clients recognise its cause.
func terminating(k *kinds.Kind, name, namespace string) error {
	err := apierrors.NewForbidden(k.GroupResource(), name,
		fmt.Errorf("unable to create new content in namespace %s because it is being terminated", namespace))
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type:    corev1.NamespaceTerminatingCause,
		Message: fmt.Sprintf("namespace %s is being terminated", namespace),
		Field:   "metadata.namespace",
	})
	return err
}
