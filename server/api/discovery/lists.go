package discovery

import (
	"maps"
	"slices"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/holt-project/holt/server/kinds"
)

// groupVersions returns the kinds by group and version, in the registry's order.
func groupVersions(reg *kinds.Registry) ([]schema.GroupVersion, map[schema.GroupVersion][]*kinds.Kind) {
	var order []schema.GroupVersion
	byGroup := map[schema.GroupVersion][]*kinds.Kind{}
	for _, k := range reg.Served() {
		gv := k.GVK.GroupVersion()
		if byGroup[gv] == nil {
			order = append(order, gv)
		}
		byGroup[gv] = append(byGroup[gv], k)
	}
	return order, byGroup
}

// resourceList is the older form of one group and version.
func resourceList(gv schema.GroupVersion, all []*kinds.Kind) *metav1.APIResourceList {
	list := &metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: gv.String(),
	}
	for _, k := range all {
		list.APIResources = append(list.APIResources, metav1.APIResource{
			Name: k.Resource, SingularName: k.Singular, Namespaced: k.Namespaced, Kind: k.GVK.Kind,
			Verbs: k.Verbs(), ShortNames: k.ShortNames, Categories: k.Categories,
		})
		for _, name := range slices.Sorted(maps.Keys(k.Subresources)) {
			sub := k.Subresources[name]
			resource := metav1.APIResource{
				Name: k.Resource + "/" + name, Namespaced: k.Namespaced, Kind: sub.GVK.Kind, Verbs: sub.Verbs(),
			}
			if sub.GVK.GroupVersion() != gv {
				resource.Group, resource.Version = sub.GVK.Group, sub.GVK.Version
			}
			list.APIResources = append(list.APIResources, resource)
		}
	}
	return list
}

// apiGroups are the older form of the named groups; of each, the version that the registry has first is preferred.
func apiGroups(gvs []schema.GroupVersion) []metav1.APIGroup {
	groups := []metav1.APIGroup{}
	for _, gv := range gvs {
		version := metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version}
		i := slices.IndexFunc(groups, func(g metav1.APIGroup) bool { return g.Name == gv.Group })
		if i < 0 {
			i, groups = len(groups), append(groups, metav1.APIGroup{Name: gv.Group, PreferredVersion: version})
		}
		groups[i].Versions = append(groups[i].Versions, version)
	}
	return groups
}

// aggregated is the newer form of some groups.
func aggregated(gvs []schema.GroupVersion, byGroup map[schema.GroupVersion][]*kinds.Kind) *apidiscoveryv2.APIGroupDiscoveryList {
	list := &apidiscoveryv2.APIGroupDiscoveryList{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: apidiscoveryv2.SchemeGroupVersion.String()},
		Items:    []apidiscoveryv2.APIGroupDiscovery{},
	}
	for _, gv := range gvs {
		version := apidiscoveryv2.APIVersionDiscovery{Version: gv.Version, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent}
		for _, k := range byGroup[gv] {
			version.Resources = append(version.Resources, resource(k))
		}
		i := slices.IndexFunc(list.Items, func(g apidiscoveryv2.APIGroupDiscovery) bool { return g.Name == gv.Group })
		if i < 0 {
			i = len(list.Items)
			list.Items = append(list.Items, apidiscoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: gv.Group}})
		}
		list.Items[i].Versions = append(list.Items[i].Versions, version)
	}
	return list
}

func resource(k *kinds.Kind) apidiscoveryv2.APIResourceDiscovery {
	r := apidiscoveryv2.APIResourceDiscovery{
		Resource: k.Resource, SingularResource: k.Singular, ResponseKind: responseKind(k.GVK),
		Scope: apidiscoveryv2.ScopeCluster,
		Verbs: k.Verbs(), ShortNames: k.ShortNames, Categories: k.Categories,
	}
	if k.Namespaced {
		r.Scope = apidiscoveryv2.ScopeNamespace
	}
	for _, name := range slices.Sorted(maps.Keys(k.Subresources)) {
		sub := k.Subresources[name]
		r.Subresources = append(r.Subresources, apidiscoveryv2.APISubresourceDiscovery{
			Subresource: name, ResponseKind: responseKind(sub.GVK), Verbs: sub.Verbs(),
		})
	}
	return r
}

func responseKind(gvk schema.GroupVersionKind) *metav1.GroupVersionKind {
	return &metav1.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind}
}
