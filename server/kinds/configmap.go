package kinds

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

// maxData is the largest sum of the values of one ConfigMap or Secret, in bytes.
const maxData = corev1.MaxSecretSize

func configMap() *Kind {
	return &Kind{
		GVK:      corev1.SchemeGroupVersion.WithKind("ConfigMap"),
		Resource: "configmaps", Singular: "configmap", ShortNames: []string{"cm"},
		Namespaced:     true,
		New:            func() fsm.Value { return &corev1.ConfigMap{} },
		NewList:        func() runtime.Object { return &corev1.ConfigMapList{} },
		Validate:       validateConfigMap,
		ValidateUpdate: validateConfigMapUpdate,
		Columns: []metav1.TableColumnDefinition{
			column("Data", "integer", corev1.ConfigMap{}.SwaggerDoc()["data"]), ageColumn(),
		},
		Cells: func(obj fsm.Value, now time.Time) []any {
			cm := obj.(*corev1.ConfigMap)
			return []any{int64(len(cm.Data) + len(cm.BinaryData)), age(obj, now)}
		},
	}
}

func validateConfigMap(obj fsm.Value) field.ErrorList {
	cm := obj.(*corev1.ConfigMap)
	var errs field.ErrorList
	total := 0
	for _, key := range slices.Sorted(maps.Keys(cm.Data)) {
		total += len(cm.Data[key])
		at := field.NewPath("data").Key(key)
		errs = append(errs, invalid(at, key, validation.IsConfigMapKey(key))...)
		if _, again := cm.BinaryData[key]; again {
			errs = append(errs, field.Invalid(at, key, "duplicate of key present in binaryData"))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(cm.BinaryData)) {
		total += len(cm.BinaryData[key])
		errs = append(errs, invalid(field.NewPath("binaryData").Key(key), key, validation.IsConfigMapKey(key))...)
	}
	if total > maxData {
		errs = append(errs, field.TooLong(field.NewPath(""), "", maxData))
	}
	return errs
}

const whenImmutable = "field is immutable when `immutable` is set"

func validateConfigMapUpdate(obj, before fsm.Value) field.ErrorList {
	cm, old := obj.(*corev1.ConfigMap), before.(*corev1.ConfigMap)
	if !isTrue(old.Immutable) {
		return nil
	}
	var errs field.ErrorList
	if !isTrue(cm.Immutable) {
		errs = append(errs, field.Forbidden(field.NewPath("immutable"), whenImmutable))
	}
	if !equality.Semantic.DeepEqual(cm.Data, old.Data) {
		errs = append(errs, field.Forbidden(field.NewPath("data"), whenImmutable))
	}
	if !equality.Semantic.DeepEqual(cm.BinaryData, old.BinaryData) {
		errs = append(errs, field.Forbidden(field.NewPath("binaryData"), whenImmutable))
	}
	return errs
}

func isTrue(b *bool) bool { return b != nil && *b }
