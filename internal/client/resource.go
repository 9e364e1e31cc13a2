package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Object is any API object.
type Object interface {
	runtime.Object
	metav1.Object
}

// Path is where a resource lives: a collection if name is empty. Empty parts are left out.
func Path(r schema.GroupVersionResource, namespace, name, subresource string) string {
	parts := []string{"", "apis", r.Group, r.Version}
	if r.Group == "" {
		parts = []string{"", "api", r.Version}
	}
	if namespace != "" {
		parts = append(parts, "namespaces", url.PathEscape(namespace))
	}
	parts = append(parts, r.Resource)
	for _, part := range []string{name, subresource} {
		if part != "" {
			parts = append(parts, url.PathEscape(part))
		}
	}
	return strings.Join(parts, "/") // never cleaned: a name of two dots must not lead elsewhere
}

// Get reads one object into out.
func (c *Client) Get(ctx context.Context, r schema.GroupVersionResource, namespace, name string, out Object) error {
	return c.Do(ctx, Request{Method: http.MethodGet, Path: Path(r, namespace, name, "")}, out)
}

// Create creates obj, which then holds what the server made of it.
func (c *Client) Create(ctx context.Context, r schema.GroupVersionResource, obj Object) error {
	return c.Do(ctx, Request{Method: http.MethodPost, Path: Path(r, obj.GetNamespace(), "", ""), Body: obj}, obj)
}

// Update replaces obj or its subresource, which then holds what the server made of it.
func (c *Client) Update(ctx context.Context, r schema.GroupVersionResource, obj Object, subresource string) error {
	p := Path(r, obj.GetNamespace(), obj.GetName(), subresource)
	return c.Do(ctx, Request{Method: http.MethodPut, Path: p, Body: obj}, obj)
}

// Patch changes one object or subresource by a patch of the given type.
func (c *Client) Patch(ctx context.Context, r schema.GroupVersionResource, namespace, name, subresource string,
	kind types.PatchType, patch []byte, out Object) error {
	return c.Do(ctx, Request{Method: http.MethodPatch, Path: Path(r, namespace, name, subresource),
		Body: patch, ContentType: string(kind)}, out)
}

// Delete deletes one object.
func (c *Client) Delete(ctx context.Context, r schema.GroupVersionResource, namespace, name string,
	opts metav1.DeleteOptions) error {
	return c.Do(ctx, Request{Method: http.MethodDelete, Path: Path(r, namespace, name, ""), Body: opts}, nil)
}
