package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/holt-project/holt/server/auth"
)

// RequestInfo is what a request's method and URL say, read as Kubernetes reads them (apiserver's RequestInfo):
// authorization and dispatch both hang on it.
type RequestInfo struct {
	Path string
	// Verb is the API verb of a resource request; else the method in lower case.
	Verb            string
	ResourceRequest bool

	Group, Version, Namespace, Resource, Subresource string
	// Name is the object's name. For a list or watch it is the one that a field selector singles out: authorization
	// may allow that where it forbids the whole list.
	Name string
	// Fields is the field selector of a list or watch, as it was written.
	Fields string
	// extra says that the path goes on behind the subresource.
	extra bool
}

// namespaceSubresources are the parts of a Namespace; any other word after a namespace's name is a resource in it.
var namespaceSubresources = map[string]bool{"status": true, "finalize": true}

var methodVerbs = map[string]string{
	http.MethodPost: "create", http.MethodGet: "get", http.MethodHead: "get", http.MethodPut: "update",
	http.MethodPatch: "patch", http.MethodDelete: "delete",
}

// ParseRequest reads the method, path and query of a request. An error means that the path begins like a resource
// but names none.
func ParseRequest(method string, u *url.URL) (RequestInfo, error) {
	info := RequestInfo{Path: u.Path, Verb: strings.ToLower(method)}
	parts := splitPath(u.Path)
	if len(parts) < 3 || (parts[0] != "api" && parts[0] != "apis") {
		return info, nil
	}
	grouped := parts[0] == "apis"
	parts = parts[1:]
	if grouped {
		if len(parts) < 3 {
			return info, nil
		}
		info.Group, parts = parts[0], parts[1:]
	}
	info.ResourceRequest = true
	info.Version, parts = parts[0], parts[1:]
	if parts[0] == "watch" || parts[0] == "proxy" { // the deprecated prefixes
		if len(parts) < 2 {
			return info, fmt.Errorf("the path %q names no resource behind %q", u.Path, parts[0])
		}
		info.Verb, parts = parts[0], parts[1:]
	} else {
		info.Verb = methodVerbs[method]
	}
	info.place(parts)
	info.collection(u)
	return info, nil
}

func splitPath(p string) []string {
	p = strings.Trim(p, "/")
	if p == "" {
		return nil
	}
	return strings.Split(p, "/")
}

// place reads namespace, resource, name and subresource.
func (i *RequestInfo) place(parts []string) {
	if parts[0] == "namespaces" && len(parts) > 1 {
		i.Namespace = parts[1]
		if len(parts) > 2 && !namespaceSubresources[parts[2]] {
			parts = parts[2:]
		}
	}
	i.Resource = parts[0]
	if len(parts) > 1 {
		i.Name = parts[1]
	}
	if len(parts) > 2 && i.Verb != "proxy" {
		i.Subresource = parts[2]
	}
	i.extra = len(parts) > 3
}

// collection corrects the verb of a request that names no object.
func (i *RequestInfo) collection(u *url.URL) {
	if i.Name != "" {
		return
	}
	switch i.Verb {
	case "delete":
		i.Verb = "deletecollection"
	case "get":
		i.Verb = "list"
		if isTrue(u.Query().Get("watch")) {
			i.Verb = "watch"
		}
	}
	if i.Verb == "list" || i.Verb == "watch" || i.Verb == "deletecollection" {
		i.Fields = u.Query().Get("fieldSelector")
		i.Name = selectedName(i.Fields)
	}
}

// selectedName returns the name that a field selector asks for, if it is one that a path could have.
func selectedName(selector string) string {
	s, err := fields.ParseSelector(selector)
	if err != nil {
		return ""
	}
	name, ok := s.RequiresExactMatch("metadata.name")
	if !ok || len(content.IsPathSegmentName(name)) > 0 {
		return ""
	}
	return name
}

// isTrue reads a boolean of a query as Kubernetes' conversion does: anything but false and 0 is true.
func isTrue(v string) bool { return v != "" && v != "0" && !strings.EqualFold(v, "false") }

// collectionVerb reports whether the request is about a collection, so that Name comes from a selector.
func (i RequestInfo) collectionVerb() bool {
	return i.Verb == "list" || i.Verb == "watch" || i.Verb == "deletecollection"
}

// write reports whether the verb may change the state.
func (i RequestInfo) write() bool {
	switch i.Verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return true
	}
	return false
}

func (i RequestInfo) gvr() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: i.Group, Version: i.Version, Resource: i.Resource}
}

// attributes is the question that the authorizer answers.
func (i RequestInfo) attributes(u auth.User) auth.Attributes {
	return auth.Attributes{
		User: u, Verb: i.Verb, Path: i.Path, ResourceRequest: i.ResourceRequest, Group: i.Group, Version: i.Version,
		Namespace: i.Namespace, Resource: i.Resource, Subresource: i.Subresource, Name: i.Name,
		Fields: i.Fields,
	}
}
