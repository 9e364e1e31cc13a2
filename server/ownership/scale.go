package ownership

import (
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

// UpdateScale returns the managedFields of the object behind a scale after manager has changed that from live to scale.
func (t *Tracker) UpdateScale(k *kinds.Kind, obj fsm.Value, live, scale *autoscalingv1.Scale, manager string) ([]metav1.ManagedFieldsEntry, error) {
	h := scaleHandler(k, obj)
	live, err := scaleBefore(h, live)
	if err != nil {
		return nil, err
	}
	m, err := t.scaleManager()
	if err != nil {
		return nil, err
	}
	if _, err := m.Update(live, scale, manager); err != nil {
		return nil, err
	}
	return h.ToParent(scale.ManagedFields)
}

// ApplyScale is Apply for the scale of obj. It returns the merged scale, and the managedFields of the object behind it.
func (t *Tracker) ApplyScale(k *kinds.Kind, obj fsm.Value, live *autoscalingv1.Scale, applied *unstructured.Unstructured, manager string, force bool) (*autoscalingv1.Scale, []metav1.ManagedFieldsEntry, error) {
	h := scaleHandler(k, obj)
	live, err := scaleBefore(h, live)
	if err != nil {
		return nil, nil, err
	}
	m, err := t.scaleManager()
	if err != nil {
		return nil, nil, err
	}
	merged, err := guardedApply(m, live, applied, manager, force)
	if err != nil {
		return nil, nil, err
	}
	scale, ok := merged.(*autoscalingv1.Scale)
	if !ok {
		return nil, nil, fmt.Errorf("the merged scale is of type %T", merged)
	}
	entries, err := h.ToParent(scale.ManagedFields)
	return scale, entries, err
}

// scaleHandler translates between the managedFields of obj and those of its scale. Every kind that has a scale keeps
// its replicas in the same place.
func scaleHandler(k *kinds.Kind, obj fsm.Value) *managedfields.ScaleHandler {
	return managedfields.NewScaleHandler(obj.GetManagedFields(), k.GVK.GroupVersion(), managedfields.ResourcePathMappings{
		k.GVK.GroupVersion().String(): fieldpath.MakePathOrDie("spec", "replicas"),
	})
}

// scaleBefore is a copy of live with the managedFields that it takes over from the object behind it.
func scaleBefore(h *managedfields.ScaleHandler, live *autoscalingv1.Scale) (*autoscalingv1.Scale, error) {
	entries, err := h.ToSubresource()
	if err != nil {
		return nil, err
	}
	live = live.DeepCopy()
	live.ManagedFields = entries
	return live, nil
}

func (t *Tracker) scaleManager() (*managedfields.FieldManager, error) {
	gvk := autoscalingv1.SchemeGroupVersion.WithKind("Scale")
	newBody := func() runtime.Object { return &autoscalingv1.Scale{} }
	return t.managerOf(part{gvk, "scale"}, newBody, nil)
}
