package podspec

import (
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// probes checks a container's probes and hooks, which only long-running containers have.
func (s *containerScope) probes(c *corev1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, p := range []struct {
		name  string
		probe *corev1.Probe
		once  bool
	}{
		{"livenessProbe", c.LivenessProbe, true},
		{"readinessProbe", c.ReadinessProbe, false},
		{"startupProbe", c.StartupProbe, true},
	} {
		if p.probe == nil {
			continue
		}
		at := path.Child(p.name)
		errs = append(errs, validateProbe(p.probe, at)...)
		if p.once && p.probe.SuccessThreshold != 1 {
			errs = append(errs, field.Invalid(at.Child("successThreshold"), p.probe.SuccessThreshold, "must be 1"))
		}
		if !p.once && p.probe.TerminationGracePeriodSeconds != nil {
			errs = append(errs, field.Invalid(at.Child("terminationGracePeriodSeconds"),
				*p.probe.TerminationGracePeriodSeconds, "must not be set for readinessProbes"))
		}
	}
	if c.Lifecycle != nil {
		errs = append(errs, s.hook(c.Lifecycle.PostStart, path.Child("lifecycle", "postStart"))...)
		errs = append(errs, s.hook(c.Lifecycle.PreStop, path.Child("lifecycle", "preStop"))...)
	}
	return errs
}

func validateProbe(p *corev1.Probe, path *field.Path) field.ErrorList {
	errs := validateHandler(action{exec: p.Exec, get: p.HTTPGet, tcp: p.TCPSocket, grpc: p.GRPC}, path)
	for _, n := range []struct {
		name  string
		value int32
	}{
		{"initialDelaySeconds", p.InitialDelaySeconds}, {"timeoutSeconds", p.TimeoutSeconds},
		{"periodSeconds", p.PeriodSeconds}, {"successThreshold", p.SuccessThreshold}, {"failureThreshold", p.FailureThreshold},
	} {
		errs = append(errs, apivalidation.ValidateNonnegativeField(int64(n.value), path.Child(n.name))...)
	}
	if p.TerminationGracePeriodSeconds != nil && *p.TerminationGracePeriodSeconds <= 0 {
		errs = append(errs, field.Invalid(path.Child("terminationGracePeriodSeconds"),
			*p.TerminationGracePeriodSeconds, "must be greater than 0"))
	}
	return errs
}

func (s *containerScope) hook(h *corev1.LifecycleHandler, path *field.Path) field.ErrorList {
	if h == nil {
		return nil
	}
	errs := validateHandler(action{exec: h.Exec, get: h.HTTPGet, tcp: h.TCPSocket, sleep: h.Sleep}, path)
	if h.Sleep != nil && s.graceful != nil && (h.Sleep.Seconds < 0 || h.Sleep.Seconds > *s.graceful) {
		errs = append(errs, field.Invalid(path.Child("sleep"), h.Sleep.Seconds,
			"must be non-negative and less than terminationGracePeriodSeconds"))
	}
	return errs
}

// action holds what a probe or a hook does; exactly one is to be set.
type action struct {
	exec  *corev1.ExecAction
	get   *corev1.HTTPGetAction
	tcp   *corev1.TCPSocketAction
	grpc  *corev1.GRPCAction
	sleep *corev1.SleepAction
}

func validateHandler(a action, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := 0
	// once reports a second action, and whether this one is to be checked.
	once := func(name string) bool {
		if seen++; seen > 1 {
			errs = append(errs, field.Forbidden(path.Child(name), "may not specify more than 1 handler type"))
			return false
		}
		return true
	}
	if a.exec != nil && once("exec") && len(a.exec.Command) == 0 {
		errs = append(errs, field.Required(path.Child("exec", "command"), ""))
	}
	if a.get != nil && once("httpGet") {
		errs = append(errs, validateHTTPGet(a.get, path.Child("httpGet"))...)
	}
	if a.tcp != nil && once("tcpSocket") {
		errs = append(errs, validatePort(a.tcp.Port, path.Child("tcpSocket", "port"))...)
	}
	if a.grpc != nil && once("grpc") {
		errs = append(errs, invalid(path.Child("grpc", "port"), a.grpc.Port, validation.IsValidPortNum(int(a.grpc.Port)))...)
	}
	if a.sleep != nil {
		once("sleep")
	}
	if seen == 0 {
		errs = append(errs, field.Required(path, "must specify a handler type"))
	}
	return errs
}

func validateHTTPGet(get *corev1.HTTPGetAction, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if get.Path == "" {
		errs = append(errs, field.Required(path.Child("path"), ""))
	}
	errs = append(errs, validatePort(get.Port, path.Child("port"))...)
	errs = append(errs, oneOf(path.Child("scheme"), get.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)...)
	for _, header := range get.HTTPHeaders {
		errs = append(errs, invalid(path.Child("httpHeaders"), header.Name, validation.IsHTTPHeaderName(header.Name))...)
	}
	return errs
}

func validatePort(port intstr.IntOrString, path *field.Path) field.ErrorList {
	if port.Type == intstr.String {
		return invalid(path, port.StrVal, validation.IsValidPortName(port.StrVal))
	}
	return invalid(path, port.IntValue(), validation.IsValidPortNum(port.IntValue()))
}
