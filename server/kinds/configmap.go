package kinds

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"time"

	"github.com/holt-project/holt/fsm"
)

func configMap() *Kind {
	return &Kind{
		GVK:      corev1.SchemeGroupVersion.WithKind("ConfigMap"),
		Resource: "configmaps", Singular: "configmap", ShortNames: []string{"cm"},
		Namespaced: true,
		New:        func() fsm.Value { return &corev1.ConfigMap{} },
		NewList:    func() runtime.Object { return &corev1.ConfigMapList{} },
		Columns:    []metav1.TableColumnDefinition{{Name: "Data", Type: "integer", Description: "Number of entries."}},
		Cells: func(obj fsm.Value, _ time.Time) []any {
			cm := obj.(*corev1.ConfigMap)
			return []any{int64(len(cm.Data) + len(cm.BinaryData))}
		},
	}
}
