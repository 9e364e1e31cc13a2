package oci

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Source gives the objects that an environment refers to. An object that does not exist is an error for which
// apierrors.IsNotFound holds.
type Source interface {
	ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

// Surroundings is what a container may ask about its place through the downward API.
type Surroundings struct {
	HostIP string
	PodIP  string
	// Capacity stands for limits that are not set.
	Capacity corev1.ResourceList
	// Services are those of the pod's namespace, and "kubernetes" of the namespace default.
	Services []*corev1.Service
}

// Variables are an environment in the order in which it was made.
type Variables struct {
	order  []string
	values map[string]string
}

func (v *Variables) set(name, value string) {
	if v.values == nil {
		v.values = map[string]string{}
	}
	if _, known := v.values[name]; !known {
		v.order = append(v.order, name)
	}
	v.values[name] = value
}

// Lookup gives one variable.
func (v *Variables) Lookup(name string) (string, bool) {
	value, ok := v.values[name]
	return value, ok
}

// List is the environment in the form NAME=value.
func (v *Variables) List() []string {
	out := make([]string, 0, len(v.order))
	for _, name := range v.order {
		out = append(out, name+"="+v.values[name])
	}
	return out
}

// Env makes a container's environment: its services' variables, then envFrom, then env; the later wins. An object
// or key that is missing and not optional is an error.
func Env(ctx context.Context, pod *corev1.Pod, c *corev1.Container, at Surroundings, source Source) (*Variables, error) {
	out := &Variables{}
	if pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks {
		serviceVariables(out, at.Services)
	} else {
		serviceVariables(out, slices.DeleteFunc(slices.Clone(at.Services), func(s *corev1.Service) bool {
			return s.Namespace != "default" || s.Name != "kubernetes"
		}))
	}
	for i := range c.EnvFrom {
		if err := addFrom(ctx, out, pod, &c.EnvFrom[i], source); err != nil {
			return nil, err
		}
	}
	for i := range c.Env {
		e := &c.Env[i]
		if e.ValueFrom == nil {
			out.set(e.Name, Expand(e.Value, out.Lookup))
			continue
		}
		value, ok, err := valueFrom(ctx, pod, c, e.ValueFrom, at, source)
		if err != nil {
			return nil, fmt.Errorf("environment variable %s: %w", e.Name, err)
		}
		if ok {
			out.set(e.Name, value)
		}
	}
	return out, nil
}

// addFrom adds all keys of one object, in the order of their names.
func addFrom(ctx context.Context, out *Variables, pod *corev1.Pod, from *corev1.EnvFromSource, source Source) error {
	values := map[string]string{}
	var err error
	var optional *bool
	switch {
	case from.ConfigMapRef != nil:
		optional = from.ConfigMapRef.Optional
		var m *corev1.ConfigMap
		if m, err = source.ConfigMap(ctx, pod.Namespace, from.ConfigMapRef.Name); err == nil {
			values = m.Data
		}
	case from.SecretRef != nil:
		optional = from.SecretRef.Optional
		var s *corev1.Secret
		if s, err = source.Secret(ctx, pod.Namespace, from.SecretRef.Name); err == nil {
			for k, v := range s.Data {
				values[k] = string(v)
			}
		}
	}
	if err != nil && !(apierrors.IsNotFound(err) && optional != nil && *optional) {
		return fmt.Errorf("environment: %w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if name := from.Prefix + key; validName(name) {
			out.set(name, values[key])
		}
	}
	return nil
}

// validName: a name that would break the form NAME=value is left out, as Kubernetes does.
func validName(name string) bool { return name != "" && !strings.ContainsAny(name, "=\x00") }

func valueFrom(ctx context.Context, pod *corev1.Pod, c *corev1.Container, from *corev1.EnvVarSource, at Surroundings,
	source Source) (value string, ok bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = Field(pod, from.FieldRef.FieldPath, at)
		return value, err == nil, err
	case from.ResourceFieldRef != nil:
		value, err = resourceField(pod, c, from.ResourceFieldRef, at)
		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		m, err := source.ConfigMap(ctx, pod.Namespace, ref.Name)
		if err == nil {
			value, ok = m.Data[ref.Key]
		}
		return value, ok, missing(err, ok, ref.Optional, "config map", ref.Name, ref.Key)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		s, err := source.Secret(ctx, pod.Namespace, ref.Name)
		if err == nil {
			var data []byte
			data, ok = s.Data[ref.Key]
			value = string(data)
		}
		return value, ok, missing(err, ok, ref.Optional, "secret", ref.Name, ref.Key)
	}
	return "", false, errors.New("this kind of valueFrom is not supported")
}

func missing(err error, found bool, optional *bool, kind, name, key string) error {
	switch {
	case optional != nil && *optional && (err == nil || apierrors.IsNotFound(err)):
		return nil
	case err != nil:
		return err
	case !found:
		return fmt.Errorf("%s %q has no key %q", kind, name, key)
	}
	return nil
}

// serviceVariables are docker's link variables, which Kubernetes keeps for compatibility.
func serviceVariables(out *Variables, services []*corev1.Service) {
	services = slices.Clone(services)
	slices.SortFunc(services, func(a, b *corev1.Service) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range services {
		if ip := net.ParseIP(s.Spec.ClusterIP); ip == nil || len(s.Spec.Ports) == 0 {
			continue
		}
		prefix := strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
		out.set(prefix+"_SERVICE_HOST", s.Spec.ClusterIP)
		out.set(prefix+"_SERVICE_PORT", strconv.Itoa(int(s.Spec.Ports[0].Port)))
		for i, p := range s.Spec.Ports {
			if p.Name != "" {
				out.set(prefix+"_SERVICE_PORT_"+strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_")), strconv.Itoa(int(p.Port)))
			}
			protocol := strings.ToLower(string(p.Protocol))
			if protocol == "" {
				protocol = "tcp"
			}
			port := strconv.Itoa(int(p.Port))
			url := protocol + "://" + net.JoinHostPort(s.Spec.ClusterIP, port)
			if i == 0 {
				out.set(prefix+"_PORT", url)
			}
			one := prefix + "_PORT_" + port + "_" + strings.ToUpper(protocol)
			out.set(one, url)
			out.set(one+"_PROTO", protocol)
			out.set(one+"_PORT", port)
			out.set(one+"_ADDR", s.Spec.ClusterIP)
		}
	}
}
