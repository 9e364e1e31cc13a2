package kinds

import (
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

func limitRange() *Kind {
	return &Kind{
		GVK:      corev1.SchemeGroupVersion.WithKind("LimitRange"),
		Resource: "limitranges", Singular: "limitrange", ShortNames: []string{"limits"},
		Namespaced: true,
		New:        func() fsm.Value { return &corev1.LimitRange{} },
		NewList:    func() runtime.Object { return &corev1.LimitRangeList{} },
		Default: func(obj fsm.Value) {
			for i := range obj.(*corev1.LimitRange).Spec.Limits {
				defaultLimits(&obj.(*corev1.LimitRange).Spec.Limits[i])
			}
		},
		// A limit range needs no name: Kubernetes gives it a unique one.
		Prepare: func(obj, old fsm.Value) {
			if old == nil && obj.GetName() == "" {
				obj.SetName(string(obj.GetUID()))
			}
		},
		Validate: validateLimitRange,
		Columns:  []metav1.TableColumnDefinition{createdAt()},
		Cells:    func(obj fsm.Value, _ time.Time) []any { return []any{createdCell(obj)} },
	}
}

// defaultLimits derives what a container gets from what it may have.
func defaultLimits(item *corev1.LimitRangeItem) {
	if item.Type == corev1.LimitTypeContainer {
		fill(&item.Default, item.Max)
		fill(&item.DefaultRequest, item.Default)
		fill(&item.DefaultRequest, item.Min)
	}
	for _, list := range []corev1.ResourceList{item.Max, item.Min, item.Default, item.DefaultRequest, item.MaxLimitRequestRatio} {
		podspec.RoundUp(list)
	}
}

// fill adds what is not in the list.
func fill(list *corev1.ResourceList, from corev1.ResourceList) {
	all := from.DeepCopy()
	if all == nil {
		all = corev1.ResourceList{}
	}
	maps.Copy(all, *list)
	*list = all
}
