package podspec

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// containerScope is what the containers of one pod are checked against.
type containerScope struct {
	volumes map[string]corev1.VolumeSource
	// names are those of the containers seen so far; all kinds of containers of a pod share them.
	names sets.Set[string]
	// hostPorts are the "PROTOCOL/IP/port" seen so far.
	hostPorts   sets.Set[string]
	hostNetwork bool
	// graceful is the pod's grace period; nil when missing.
	graceful *int64
}

func validateAllContainers(spec *corev1.PodSpec, volumes map[string]corev1.VolumeSource, path *field.Path) field.ErrorList {
	scope := &containerScope{
		volumes: volumes, names: sets.New[string](), hostPorts: sets.New[string](),
		hostNetwork: spec.HostNetwork, graceful: spec.TerminationGracePeriodSeconds,
	}
	var errs field.ErrorList
	at := path.Child("containers")
	if len(spec.Containers) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	for i := range spec.Containers {
		errs = append(errs, scope.container(&spec.Containers[i], at.Index(i))...)
		if lifetime := spec.Containers[i].RestartPolicy; lifetime != nil {
			errs = append(errs, oneOf(at.Index(i).Child("restartPolicy"), *lifetime, corev1.ContainerRestartPolicyAlways,
				corev1.ContainerRestartPolicyOnFailure, corev1.ContainerRestartPolicyNever)...)
		}
		errs = append(errs, scope.probes(&spec.Containers[i], at.Index(i))...)
	}
	for i := range spec.InitContainers {
		errs = append(errs, scope.initContainer(&spec.InitContainers[i], path.Child("initContainers").Index(i))...)
	}
	for i := range spec.EphemeralContainers {
		errs = append(errs, scope.ephemeral(&spec.EphemeralContainers[i], spec, path.Child("ephemeralContainers").Index(i))...)
	}
	return errs
}

// initContainer allows probes and hooks only for a sidecar, which is an init container that always restarts.
func (s *containerScope) initContainer(c *corev1.Container, path *field.Path) field.ErrorList {
	// Init containers end before others start, so their host ports cannot collide with the others'.
	seen := s.hostPorts
	s.hostPorts = sets.New[string]()
	errs := s.container(c, path)
	s.hostPorts = seen
	if c.RestartPolicy != nil {
		errs = append(errs, oneOf(path.Child("restartPolicy"), *c.RestartPolicy, corev1.ContainerRestartPolicyAlways,
			corev1.ContainerRestartPolicyOnFailure, corev1.ContainerRestartPolicyNever)...)
		if *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			return append(errs, s.probes(c, path)...)
		}
	}
	return append(errs, forbid(path, "may not be set for init containers without restartPolicy=Always",
		option{"lifecycle", c.Lifecycle != nil}, option{"livenessProbe", c.LivenessProbe != nil},
		option{"readinessProbe", c.ReadinessProbe != nil}, option{"startupProbe", c.StartupProbe != nil})...)
}

func (s *containerScope) ephemeral(c *corev1.EphemeralContainer, spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	errs := s.container((*corev1.Container)(&c.EphemeralContainerCommon), path)
	if c.TargetContainerName != "" && !hasContainer(spec, c.TargetContainerName) {
		errs = append(errs, field.NotFound(path.Child("targetContainerName"), c.TargetContainerName))
	}
	return append(errs, forbid(path, "cannot be set for an Ephemeral Container",
		option{"ports", len(c.Ports) > 0}, option{"livenessProbe", c.LivenessProbe != nil},
		option{"readinessProbe", c.ReadinessProbe != nil}, option{"startupProbe", c.StartupProbe != nil},
		option{"lifecycle", c.Lifecycle != nil},
		option{"resources", len(c.Resources.Limits)+len(c.Resources.Requests) > 0})...)
}

func hasContainer(spec *corev1.PodSpec, name string) bool {
	for _, containers := range [][]corev1.Container{spec.Containers, spec.InitContainers} {
		for i := range containers {
			if containers[i].Name == name {
				return true
			}
		}
	}
	return false
}

func (s *containerScope) container(c *corev1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	name := path.Child("name")
	switch {
	case c.Name == "":
		errs = append(errs, field.Required(name, ""))
	case s.names.Has(c.Name):
		errs = append(errs, field.Duplicate(name, c.Name))
	default:
		errs = append(errs, invalid(name, c.Name, validation.IsDNS1123Label(c.Name))...)
	}
	s.names.Insert(c.Name)
	if c.Image == "" {
		errs = append(errs, field.Required(path.Child("image"), ""))
	} else if strings.TrimSpace(c.Image) != c.Image {
		errs = append(errs, field.Invalid(path.Child("image"), c.Image, "must not have leading or trailing whitespace"))
	}
	errs = append(errs, requireOneOf(path.Child("terminationMessagePolicy"), c.TerminationMessagePolicy,
		corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)...)
	errs = append(errs, requireOneOf(path.Child("imagePullPolicy"), c.ImagePullPolicy,
		corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	errs = append(errs, s.ports(c.Ports, path.Child("ports"))...)
	errs = append(errs, validateEnv(c.Env, s.volumes, path.Child("env"))...)
	errs = append(errs, validateEnvFrom(c.EnvFrom, path.Child("envFrom"))...)
	errs = append(errs, s.mounts(c, path)...)
	errs = append(errs, validateResources(&c.Resources, path.Child("resources"))...)
	errs = append(errs, validateSecurity(c.SecurityContext, path.Child("securityContext"))...)
	return errs
}

func (s *containerScope) ports(ports []corev1.ContainerPort, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i, port := range ports {
		at := path.Index(i)
		if port.Name != "" {
			errs = append(errs, invalid(at.Child("name"), port.Name, validation.IsValidPortName(port.Name))...)
			if names.Has(port.Name) {
				errs = append(errs, field.Duplicate(at.Child("name"), port.Name))
			}
			names.Insert(port.Name)
		}
		if port.ContainerPort == 0 {
			errs = append(errs, field.Required(at.Child("containerPort"), ""))
		} else {
			errs = append(errs, invalid(at.Child("containerPort"), port.ContainerPort,
				validation.IsValidPortNum(int(port.ContainerPort)))...)
		}
		errs = append(errs, requireOneOf(at.Child("protocol"), port.Protocol,
			corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)...)
		errs = append(errs, s.hostPort(port, at)...)
	}
	return errs
}

func (s *containerScope) hostPort(port corev1.ContainerPort, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if port.HostIP != "" {
		errs = append(errs, validation.IsValidIP(path.Child("hostIP"), port.HostIP)...)
	}
	if port.HostPort == 0 {
		return errs
	}
	at := path.Child("hostPort")
	errs = append(errs, invalid(at, port.HostPort, validation.IsValidPortNum(int(port.HostPort)))...)
	if s.hostNetwork && port.HostPort != port.ContainerPort {
		errs = append(errs, field.Invalid(path.Child("containerPort"), port.ContainerPort,
			"must match `hostPort` when `hostNetwork` is true"))
	}
	key := hostPortKey(port)
	if s.hostPorts.Has(key) {
		errs = append(errs, field.Duplicate(at, key))
	}
	s.hostPorts.Insert(key)
	return errs
}
