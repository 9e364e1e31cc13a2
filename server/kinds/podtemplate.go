package kinds

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

func podTemplate() *Kind {
	return &Kind{
		GVK:      corev1.SchemeGroupVersion.WithKind("PodTemplate"),
		Resource: "podtemplates", Singular: "podtemplate",
		Namespaced: true,
		New:        func() fsm.Value { return &corev1.PodTemplate{} },
		NewList:    func() runtime.Object { return &corev1.PodTemplateList{} },
		Default:    func(obj fsm.Value) { podspec.Default(&obj.(*corev1.PodTemplate).Template.Spec) },
		Prepare: specified[*corev1.PodTemplate]{
			spec:  func(t *corev1.PodTemplate) any { return &t.Template },
			start: func(*corev1.PodTemplate) {},
			keep:  func(_, _ *corev1.PodTemplate) {},
		}.prepare,
		Validate: func(obj fsm.Value) field.ErrorList {
			return podspec.ValidateTemplate(&obj.(*corev1.PodTemplate).Template, field.NewPath("template"))
		},
		Columns: []metav1.TableColumnDefinition{
			column("Containers", "string", "Names of each container in the template."),
			column("Images", "string", "Images referenced by each container in the template."),
			column("Pod Labels", "string", "The labels for the pod template."),
		},
		Cells: func(obj fsm.Value, _ time.Time) []any {
			t := obj.(*corev1.PodTemplate)
			return append(containerCells(&t.Template.Spec), labels.FormatLabels(t.Template.Labels))
		},
	}
}
