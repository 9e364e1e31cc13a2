package auth

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/holt-project/holt/fsm"
)

var reads = []string{"get", "list", "watch"}

// node is the node authorizer: what the agent of the named node may do.
func (z *Authorizer) node(node string, a Attributes) (allowed bool, reason string) {
	switch a.Group + "/" + a.Resource {
	case "/nodes":
		return ownNode(node, a)
	case "/pods":
		return z.ownPod(node, a)
	case "/services", "/namespaces", "discovery.k8s.io/endpointslices":
		return slices.Contains(reads, a.Verb) && a.Subresource == "", "a node may only read " + a.Resource
	case "/events", "events.k8s.io/events":
		return slices.Contains([]string{"create", "update", "patch"}, a.Verb) && a.Subresource == "", "a node may only write events"
	case "/configmaps", "/secrets":
		return a.Verb == "get" && a.Subresource == "" && z.refers(node, a),
			"no pod on node '" + node + "' refers to the object"
	case "coordination.k8s.io/leases":
		return ownLease(node, a), "a node may only use its own lease"
	}
	return false, "a node may not touch " + a.Resource
}

// ownLease lets a node keep the Lease of its name. The name of one to be created is for admission to check.
func ownLease(node string, a Attributes) bool {
	if a.Namespace != corev1.NamespaceNodeLease || a.Subresource != "" {
		return false
	}
	if a.Verb == "create" {
		return true
	}
	return a.Name == node && slices.Contains([]string{"get", "update", "patch"}, a.Verb)
}

// ownNode lets a node read all nodes, whose addresses it routes to, and write its own. The name of one to be created is
// for admission to check.
func ownNode(node string, a Attributes) (bool, string) {
	own := a.Name == node
	switch a.Verb {
	case "get", "list", "watch":
		return a.Subresource == "" || own && a.Subresource == "status", "a node may only touch itself"
	case "create":
		return a.Subresource == "", "a node may only touch itself"
	case "update", "patch":
		return own && (a.Subresource == "" || a.Subresource == "status"), "node '" + node + "' cannot touch node '" + a.Name + "'"
	}
	return false, "a node may not delete nodes"
}

// ownPod lets a node read, report on and finish the pods that are bound to it (KEP-4601: a list must ask for them).
func (z *Authorizer) ownPod(node string, a Attributes) (bool, string) {
	if (a.Verb == "list" || a.Verb == "watch") && a.Subresource == "" {
		return asksFor(a.Fields, node), "a node may only list pods with the field selector spec.nodeName=" + node
	}
	reading := a.Verb == "get" && (a.Subresource == "" || a.Subresource == "status")
	finishing := a.Verb == "delete" && a.Subresource == ""
	reporting := (a.Verb == "update" || a.Verb == "patch") && a.Subresource == "status"
	if !reading && !finishing && !reporting {
		return false, "a node may only report the status of pods, and delete those that have ended"
	}
	o, ok := z.view().Get(fsm.Key{Resource: "pods", Namespace: a.Namespace, Name: a.Name})
	if !ok {
		return true, "" // let the API say that it is not there
	}
	return o.Value.(*corev1.Pod).Spec.NodeName == node, "the pod is not bound to node '" + node + "'"
}

// refers reports whether a pod on the node refers to the ConfigMap or Secret.
func (z *Authorizer) refers(node string, a Attributes) bool {
	for o := range z.view().ByIndex("pods", "node", node) {
		if o.Namespace == a.Namespace && slices.Contains(references(o.Value.(*corev1.Pod), a.Resource), a.Name) {
			return true
		}
	}
	return false
}

// references lists the names of the ConfigMaps or Secrets that a pod's specification mentions.
func references(pod *corev1.Pod, resource string) []string {
	var names []string
	if resource == "secrets" {
		for _, s := range pod.Spec.ImagePullSecrets {
			names = append(names, s.Name)
		}
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		names = append(names, environment(c.EnvFrom, c.Env, resource)...)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		names = append(names, environment(c.EnvFrom, c.Env, resource)...)
	}
	for i := range pod.Spec.Volumes {
		names = append(names, volume(&pod.Spec.Volumes[i], resource)...)
	}
	return names
}

func environment(from []corev1.EnvFromSource, vars []corev1.EnvVar, resource string) []string {
	var names []string
	for _, e := range from {
		names = append(names, envSource(e, resource)...)
	}
	for _, e := range vars {
		names = append(names, envVar(e, resource)...)
	}
	return names
}

func envSource(e corev1.EnvFromSource, resource string) []string {
	switch {
	case resource == "secrets" && e.SecretRef != nil:
		return []string{e.SecretRef.Name}
	case resource == "configmaps" && e.ConfigMapRef != nil:
		return []string{e.ConfigMapRef.Name}
	}
	return nil
}

func envVar(e corev1.EnvVar, resource string) []string {
	switch {
	case e.ValueFrom == nil:
	case resource == "secrets" && e.ValueFrom.SecretKeyRef != nil:
		return []string{e.ValueFrom.SecretKeyRef.Name}
	case resource == "configmaps" && e.ValueFrom.ConfigMapKeyRef != nil:
		return []string{e.ValueFrom.ConfigMapKeyRef.Name}
	}
	return nil
}

func volume(v *corev1.Volume, resource string) []string {
	var names []string
	switch {
	case resource == "secrets" && v.Secret != nil:
		names = append(names, v.Secret.SecretName)
	case resource == "configmaps" && v.ConfigMap != nil:
		names = append(names, v.ConfigMap.Name)
	case v.Projected != nil:
		for _, s := range v.Projected.Sources {
			if resource == "secrets" && s.Secret != nil {
				names = append(names, s.Secret.Name)
			}
			if resource == "configmaps" && s.ConfigMap != nil {
				names = append(names, s.ConfigMap.Name)
			}
		}
	}
	return names
}

// asksFor reports whether a field selector leaves only pods of the node.
func asksFor(selector, node string) bool {
	s, err := fields.ParseSelector(selector)
	if err != nil {
		return false
	}
	value, exact := s.RequiresExactMatch("spec.nodeName")
	return exact && value == node
}
