package discovery

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/holt-project/holt/server/api/document"
	"github.com/holt-project/holt/server/kinds"
)

const (
	rootLegacy = "/api"
	rootGroups = "/apis"

	typeJSON       = "application/json"
	typeAggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
)

// Docs serves what a registry has.
type Docs struct {
	plain map[string]*document.Document
	// aggregated are the newer documents, of the two roots alone.
	aggregated map[string]*document.Document
}

// New builds the documents. It fails when one cannot be encoded.
func New(reg *kinds.Registry) (*Docs, error) {
	gvs, byGroup := groupVersions(reg)
	legacy := &metav1.APIVersions{
		TypeMeta: metav1.TypeMeta{Kind: "APIVersions", APIVersion: "v1"}, Versions: []string{},
		// Clients in the cluster come by other addresses than this one's, so none is named: they keep what they used.
		ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{},
	}
	plain := map[string]any{}
	roots := map[string][]schema.GroupVersion{rootLegacy: nil, rootGroups: nil}
	for _, gv := range gvs {
		root := rootGroups
		if gv.Group == "" {
			root = rootLegacy
			legacy.Versions = append(legacy.Versions, gv.Version)
		}
		plain[root+"/"+gv.String()] = resourceList(gv, byGroup[gv])
		roots[root] = append(roots[root], gv)
	}
	groups := apiGroups(roots[rootGroups])
	for _, g := range groups {
		g.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
		plain[rootGroups+"/"+g.Name] = &g
	}
	plain[rootLegacy] = legacy
	plain[rootGroups] = &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: groups}
	newer := map[string]any{}
	for root, of := range roots {
		newer[root] = aggregated(of, byGroup)
	}
	d := &Docs{}
	var err error
	if d.plain, err = encode(typeJSON, plain); err != nil {
		return nil, err
	}
	d.aggregated, err = encode(typeAggregated, newer)
	return d, err
}

func encode(contentType string, values map[string]any) (map[string]*document.Document, error) {
	documents := map[string]*document.Document{}
	for path, value := range values {
		doc, err := document.JSON(contentType, value)
		if err != nil {
			return nil, err
		}
		documents[path] = doc
	}
	return documents, nil
}

// Paths lists what is served, for the list of all paths.
func (d *Docs) Paths() []string { return slices.Sorted(maps.Keys(d.plain)) }

// ServeHTTP answers /api, /apis and the documents below them.
func (d *Docs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	plain := d.plain[path]
	if plain == nil {
		document.NotFound(w, r)
		return
	}
	for _, accepted := range document.Accepted(r) {
		switch accepted.Name {
		case typeJSON, "application/*", "*/*":
		default:
			continue
		}
		if accepted.Params["as"] == "" {
			plain.ServeHTTP(w, r)
			return
		}
		newer := accepted.Params["as"] == "APIGroupDiscoveryList" &&
			accepted.Params["g"] == "apidiscovery.k8s.io" && accepted.Params["v"] == "v2"
		if doc := d.aggregated[path]; newer && doc != nil {
			doc.ServeHTTP(w, r)
			return
		}
	}
	document.NotAcceptable(w, typeJSON, typeAggregated)
}
