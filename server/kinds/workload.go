package kinds

import (
	"strings"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

// validateSelector checks that a controller, named as Kubernetes does in its errors, selects something, and its own pods
// in any case.
func validateSelector(selector *metav1.LabelSelector, template map[string]string, controller string, path *field.Path) field.ErrorList {
	at := path.Child("selector")
	if selector == nil {
		return field.ErrorList{field.Required(at, "")}
	}
	errs := metav1validation.ValidateLabelSelector(selector, metav1validation.LabelSelectorValidationOptions{}, at)
	if len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		errs = append(errs, field.Invalid(at, selector, "empty selector is invalid for "+controller))
	}
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return append(errs, field.Invalid(at, selector, "invalid label selector"))
	}
	if !parsed.Empty() && !parsed.Matches(labels.Set(template)) {
		errs = append(errs, field.Invalid(path.Child("template", "metadata", "labels"), template,
			"`selector` does not match template `labels`"))
	}
	return errs
}

// scalable is what the scale of a kind is read from and written to.
type scalable struct {
	replicas **int32
	current  int32
	selector *metav1.LabelSelector
}

// scaleOf makes the "scale" subresource of a kind with replicas. A change counts the generation up.
func scaleOf(of func(obj fsm.Value) scalable) Subresource {
	return Subresource{
		GVK: autoscalingv1.SchemeGroupVersion.WithKind("Scale"),
		New: func() runtime.Object { return &autoscalingv1.Scale{} },
		Get: func(obj fsm.Value) (runtime.Object, error) {
			s := of(obj)
			selector, err := metav1.LabelSelectorAsSelector(s.selector)
			if err != nil {
				return nil, err
			}
			return &autoscalingv1.Scale{
				TypeMeta: metav1.TypeMeta{APIVersion: autoscalingv1.SchemeGroupVersion.String(), Kind: "Scale"},
				ObjectMeta: metav1.ObjectMeta{
					Name: obj.GetName(), Namespace: obj.GetNamespace(), UID: obj.GetUID(),
					ResourceVersion: obj.GetResourceVersion(), CreationTimestamp: obj.GetCreationTimestamp(),
				},
				Spec:   autoscalingv1.ScaleSpec{Replicas: valueOf(*s.replicas)},
				Status: autoscalingv1.ScaleStatus{Replicas: s.current, Selector: selector.String()},
			}, nil
		},
		Update: func(obj fsm.Value, body runtime.Object) field.ErrorList {
			s, want := of(obj), body.(*autoscalingv1.Scale).Spec.Replicas
			if *s.replicas == nil || **s.replicas != want {
				obj.SetGeneration(obj.GetGeneration() + 1)
			}
			*s.replicas = &want
			return nonNegative(count{field.NewPath("spec", "replicas"), want})
		},
	}
}

func valueOf(n *int32) int32 {
	if n == nil {
		return 0
	}
	return *n
}

// templateColumns and templateCells show what a controller's pods run, in wide tables.
func templateColumns(selector string) []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		wide("Containers", "string", "Names of each container in the template."),
		wide("Images", "string", "Images referenced by each container in the template."),
		wide("Selector", "string", selector),
	}
}

func templateCells(spec *corev1.PodSpec, selector *metav1.LabelSelector) []any {
	return append(containerCells(spec), metav1.FormatLabelSelector(selector))
}

func containerCells(spec *corev1.PodSpec) []any {
	names, images := make([]string, len(spec.Containers)), make([]string, len(spec.Containers))
	for i := range spec.Containers {
		names[i], images[i] = spec.Containers[i].Name, spec.Containers[i].Image
	}
	return []any{strings.Join(names, ","), strings.Join(images, ",")}
}
