package kinds

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

func node() *Kind {
	gvk := corev1.SchemeGroupVersion.WithKind("Node")
	newBody := func() fsm.Value { return &corev1.Node{} }
	return &Kind{
		GVK:      gvk,
		Resource: "nodes", Singular: "node", ShortNames: []string{"no"},
		New:     newBody,
		NewList: func() runtime.Object { return &corev1.NodeList{} },
		Default: defaultNode,
		// A node registers itself with its status, so a new one keeps it.
		Prepare: func(obj, old fsm.Value) {
			if old != nil {
				obj.(*corev1.Node).Status = old.(*corev1.Node).Status
			}
		},
		Validate:       validateNode,
		ValidateUpdate: validateNodeUpdate,
		Subresources: map[string]Subresource{
			"status": statusOf(gvk, newBody, func(obj, body *corev1.Node) field.ErrorList {
				obj.Status = body.Status
				defaultNode(obj)
				return validateNode(obj)
			}),
		},
		Fields: func(obj fsm.Value) fields.Set {
			if obj.(*corev1.Node).Spec.Unschedulable {
				return fields.Set{"spec.unschedulable": "true"}
			}
			return fields.Set{"spec.unschedulable": "false"}
		},
		Columns: []metav1.TableColumnDefinition{
			column("Status", "string", "The status of the node"),
			column("Roles", "string", "The roles of the node"),
			ageColumn(),
			column("Version", "string", corev1.NodeSystemInfo{}.SwaggerDoc()["kubeletVersion"]),
			wide("Internal-IP", "string", corev1.NodeStatus{}.SwaggerDoc()["addresses"]),
			wide("External-IP", "string", corev1.NodeStatus{}.SwaggerDoc()["addresses"]),
			wide("OS-Image", "string", corev1.NodeSystemInfo{}.SwaggerDoc()["osImage"]),
			wide("Kernel-Version", "string", corev1.NodeSystemInfo{}.SwaggerDoc()["kernelVersion"]),
			wide("Container-Runtime", "string", corev1.NodeSystemInfo{}.SwaggerDoc()["containerRuntimeVersion"]),
		},
		Cells: nodeCells,
	}
}

// defaultNode makes all of a node's capacity allocatable when the node reserves nothing.
func defaultNode(obj fsm.Value) {
	status := &obj.(*corev1.Node).Status
	if status.Allocatable == nil && status.Capacity != nil {
		status.Allocatable = status.Capacity.DeepCopy()
	}
}

func validateNode(obj fsm.Value) field.ErrorList {
	n, spec := obj.(*corev1.Node), field.NewPath("spec")
	errs := validateTaints(n.Spec.Taints, spec.Child("taints"))
	if len(n.Spec.PodCIDRs) > 2 {
		errs = append(errs, field.Invalid(spec.Child("podCIDRs"), n.Spec.PodCIDRs,
			"may specify no more than one CIDR for each IP family"))
	}
	for i, cidr := range n.Spec.PodCIDRs {
		errs = append(errs, validation.IsValidCIDR(spec.Child("podCIDRs").Index(i), cidr)...)
	}
	if len(n.Spec.PodCIDRs) == 2 && sameFamily(n.Spec.PodCIDRs[0], n.Spec.PodCIDRs[1]) {
		errs = append(errs, field.Invalid(spec.Child("podCIDRs"), n.Spec.PodCIDRs,
			"may specify no more than one CIDR for each IP family"))
	}
	if n.Spec.PodCIDR != "" && len(n.Spec.PodCIDRs) > 0 && n.Spec.PodCIDR != n.Spec.PodCIDRs[0] {
		errs = append(errs, field.Invalid(spec.Child("podCIDRs"), n.Spec.PodCIDRs[0], "must match `podCIDR`"))
	}
	for name, list := range map[string]corev1.ResourceList{"allocatable": n.Status.Allocatable, "capacity": n.Status.Capacity} {
		for resource, quantity := range list {
			if quantity.Sign() < 0 {
				errs = append(errs, field.Invalid(field.NewPath("status", name).Key(string(resource)), quantity.String(),
					"must be greater than or equal to 0"))
			}
		}
	}
	slices.SortStableFunc(errs, func(a, b *field.Error) int { return strings.Compare(a.Field, b.Field) })
	return errs
}

func sameFamily(a, b string) bool {
	first, err := netip.ParsePrefix(a)
	if err != nil {
		return false
	}
	second, err := netip.ParsePrefix(b)
	return err == nil && first.Addr().Is4() == second.Addr().Is4()
}

func validateTaints(taints []corev1.Taint, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	type identity struct {
		key    string
		effect corev1.TaintEffect
	}
	seen := sets.New[identity]()
	for i, t := range taints {
		at := path.Index(i)
		errs = append(errs, metav1validation.ValidateLabelName(t.Key, at.Child("key"))...)
		errs = append(errs, invalid(at.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))...)
		if t.Effect == "" {
			errs = append(errs, field.Required(at.Child("effect"), ""))
		} else {
			errs = append(errs, oneOf(at.Child("effect"), t.Effect,
				corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)...)
		}
		this := identity{t.Key, t.Effect}
		if seen.Has(this) {
			duplicate := field.Duplicate(at, t)
			duplicate.Detail = "taints must be unique by key and effect pair"
			errs = append(errs, duplicate)
		}
		seen.Insert(this)
	}
	return errs
}

func validateNodeUpdate(obj, before fsm.Value) field.ErrorList {
	n, old, spec := obj.(*corev1.Node).Spec, before.(*corev1.Node).Spec, field.NewPath("spec")
	var errs field.ErrorList
	if old.PodCIDR != "" && old.PodCIDR != n.PodCIDR || len(old.PodCIDRs) > 0 && !slices.Equal(old.PodCIDRs, n.PodCIDRs) {
		errs = append(errs, field.Forbidden(spec.Child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid"))
	}
	if old.ProviderID != "" && old.ProviderID != n.ProviderID {
		errs = append(errs, field.Forbidden(spec.Child("providerID"), "node updates may not change providerID except from \"\" to valid"))
	}
	return errs
}

func nodeCells(obj fsm.Value, now time.Time) []any {
	n := obj.(*corev1.Node)
	info := n.Status.NodeInfo
	return []any{
		nodeStatus(n), nodeRoles(n), age(obj, now), info.KubeletVersion,
		address(n, corev1.NodeInternalIP), address(n, corev1.NodeExternalIP),
		orUnknown(info.OSImage), orUnknown(info.KernelVersion), orUnknown(info.ContainerRuntimeVersion),
	}
}

func nodeStatus(n *corev1.Node) string {
	status := "Unknown"
	for _, c := range n.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		if status = "NotReady"; c.Status == corev1.ConditionTrue {
			status = "Ready"
		}
	}
	if n.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	return status
}

// nodeRoles reads the roles from labels of both forms: "node-role.kubernetes.io/x" and "kubernetes.io/role: x".
func nodeRoles(n *corev1.Node) string {
	roles := sets.New[string]()
	for label, value := range n.Labels {
		if role, found := strings.CutPrefix(label, "node-role.kubernetes.io/"); found && role != "" {
			roles.Insert(role)
		} else if label == "kubernetes.io/role" && value != "" {
			roles.Insert(value)
		}
	}
	return orNone(strings.Join(sets.List(roles), ","))
}

func address(n *corev1.Node, kind corev1.NodeAddressType) string {
	for _, a := range n.Status.Addresses {
		if a.Type == kind {
			return a.Address
		}
	}
	return none
}

func orUnknown(text string) string {
	if text == "" {
		return unknown
	}
	return text
}
