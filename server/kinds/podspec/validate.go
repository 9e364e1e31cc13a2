package podspec

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Validate returns all that is wrong with a specification that was defaulted.
func Validate(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	volumes, errs := validateVolumes(spec.Volumes, path.Child("volumes"))
	errs = append(errs, validateAllContainers(spec, volumes, path)...)
	errs = append(errs, validatePolicies(spec, path)...)
	errs = append(errs, validateNames(spec, path)...)
	errs = append(errs, validateScheduling(spec, path)...)
	errs = append(errs, validatePodSecurity(spec, path)...)
	errs = append(errs, validateDNS(spec, path)...)
	if spec.Resources != nil {
		errs = append(errs, validateResources(spec.Resources, path.Child("resources"))...)
	}
	errs = append(errs, validateQuantities(spec.Overhead, path.Child("overhead"))...)
	return errs
}

// ValidateTemplate returns all that is wrong with a template of pods.
func ValidateTemplate(template *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	errs := metav1validation.ValidateLabels(template.Labels, path.Child("labels"))
	errs = append(errs, apivalidation.ValidateAnnotations(template.Annotations, path.Child("annotations"))...)
	errs = append(errs, Validate(&template.Spec, path.Child("spec"))...)
	if len(template.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(path.Child("spec", "ephemeralContainers"),
			"ephemeral containers not allowed in pod template"))
	}
	return errs
}

// ValidateLasting returns all that is wrong with the template of a controller, by its kind's name, whose pods run until
// they are deleted.
func ValidateLasting(template *corev1.PodTemplateSpec, controller string, path *field.Path) field.ErrorList {
	errs := ValidateTemplate(template, path)
	spec, at := &template.Spec, path.Child("spec")
	// An unsupported policy was reported already; one that pods may have and controllers not is reported here.
	if spec.RestartPolicy == corev1.RestartPolicyOnFailure || spec.RestartPolicy == corev1.RestartPolicyNever {
		errs = append(errs, field.NotSupported(at.Child("restartPolicy"), spec.RestartPolicy,
			[]corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(at.Child("activeDeadlineSeconds"),
			"activeDeadlineSeconds in "+controller+" is not Supported"))
	}
	return errs
}

func validatePolicies(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	errs := requireOneOf(path.Child("restartPolicy"), spec.RestartPolicy,
		corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)
	errs = append(errs, requireOneOf(path.Child("dnsPolicy"), spec.DNSPolicy,
		corev1.DNSClusterFirstWithHostNet, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)...)
	if spec.PreemptionPolicy != nil {
		errs = append(errs, requireOneOf(path.Child("preemptionPolicy"), *spec.PreemptionPolicy,
			corev1.PreemptLowerPriority, corev1.PreemptNever)...)
	}
	if spec.ActiveDeadlineSeconds != nil && (*spec.ActiveDeadlineSeconds < 1 || *spec.ActiveDeadlineSeconds > math.MaxInt32) {
		errs = append(errs, field.Invalid(path.Child("activeDeadlineSeconds"), *spec.ActiveDeadlineSeconds,
			validation.InclusiveRangeError(1, math.MaxInt32)))
	}
	if spec.TerminationGracePeriodSeconds == nil {
		errs = append(errs, field.Required(path.Child("terminationGracePeriodSeconds"), ""))
	}
	if spec.OS != nil {
		errs = append(errs, requireOneOf(path.Child("os", "name"), spec.OS.Name, corev1.Linux, corev1.Windows)...)
	}
	return errs
}

// validateNames checks what refers to other objects or becomes a host name.
func validateNames(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	errs := optionalName(path.Child("serviceAccountName"), spec.ServiceAccountName, apivalidation.ValidateServiceAccountName)
	errs = append(errs, optionalName(path.Child("nodeName"), spec.NodeName, apivalidation.NameIsDNSSubdomain)...)
	errs = append(errs, optionalName(path.Child("priorityClassName"), spec.PriorityClassName, apivalidation.NameIsDNSSubdomain)...)
	errs = append(errs, optionalName(path.Child("hostname"), spec.Hostname, apivalidation.NameIsDNSLabel)...)
	errs = append(errs, optionalName(path.Child("subdomain"), spec.Subdomain, apivalidation.NameIsDNSLabel)...)
	errs = append(errs, optionalName(path.Child("schedulerName"), spec.SchedulerName, apivalidation.NameIsDNSSubdomain)...)
	if spec.RuntimeClassName != nil {
		errs = append(errs, optionalName(path.Child("runtimeClassName"), *spec.RuntimeClassName, apivalidation.NameIsDNSSubdomain)...)
	}
	for i, ref := range spec.ImagePullSecrets {
		if ref.Name == "" {
			errs = append(errs, field.Required(path.Child("imagePullSecrets").Index(i).Child("name"), ""))
		}
	}
	for i, alias := range spec.HostAliases {
		at := path.Child("hostAliases").Index(i)
		errs = append(errs, validation.IsValidIP(at.Child("ip"), alias.IP)...)
		for _, name := range alias.Hostnames {
			errs = append(errs, invalid(at.Child("hostnames"), name, validation.IsDNS1123Subdomain(name))...)
		}
	}
	return errs
}

const (
	maxNameservers, maxSearches = 3, 32
	maxSearchChars              = 2048
)

func validateDNS(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	path = path.Child("dnsConfig")
	if spec.DNSConfig == nil {
		if spec.DNSPolicy == corev1.DNSNone {
			return field.ErrorList{field.Required(path, "must provide `dnsConfig` when `dnsPolicy` is None")}
		}
		return nil
	}
	var errs field.ErrorList
	config, servers := spec.DNSConfig, path.Child("nameservers")
	if spec.DNSPolicy == corev1.DNSNone && len(config.Nameservers) == 0 {
		errs = append(errs, field.Required(servers, "must provide at least one DNS nameserver when `dnsPolicy` is None"))
	}
	if len(config.Nameservers) > maxNameservers {
		errs = append(errs, field.Invalid(servers, config.Nameservers, "must not have more than 3 nameservers"))
	}
	for i, server := range config.Nameservers {
		errs = append(errs, validation.IsValidIP(servers.Index(i), server)...)
	}
	if len(config.Searches) > maxSearches {
		errs = append(errs, field.Invalid(path.Child("searches"), config.Searches, "must not have more than 32 search paths"))
	}
	total := max(0, len(config.Searches)-1)
	for i, search := range config.Searches {
		total += len(search)
		if search == "." {
			continue
		}
		if n := len(search); n > 0 && search[n-1] == '.' {
			search = search[:n-1]
		}
		errs = append(errs, invalid(path.Child("searches").Index(i), search, validation.IsDNS1123SubdomainWithUnderscore(search))...)
	}
	if total > maxSearchChars {
		errs = append(errs, field.Invalid(path.Child("searches"), config.Searches,
			"must not have more than 2048 characters (including spaces) in the search list"))
	}
	for i, option := range config.Options {
		if option.Name == "" {
			errs = append(errs, field.Required(path.Child("options").Index(i), "must not be empty"))
		}
	}
	return errs
}

// requireOneOf reports an empty value as missing and any other that is not allowed as unsupported.
func requireOneOf[T ~string](path *field.Path, value T, allowed ...T) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return oneOf(path, value, allowed...)
}

func oneOf[T ~string](path *field.Path, value T, allowed ...T) field.ErrorList {
	if sets.New(allowed...).Has(value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, allowed)}
}

func optionalName(path *field.Path, name string, check apivalidation.ValidateNameFunc) field.ErrorList {
	if name == "" {
		return nil
	}
	return invalid(path, name, check(name, false))
}

func invalid(path *field.Path, value any, messages []string) field.ErrorList {
	var errs field.ErrorList
	for _, message := range messages {
		errs = append(errs, field.Invalid(path, value, message))
	}
	return errs
}

// option is a field that may be set.
type option struct {
	name string
	set  bool
}

// forbid reports those of the options that are set.
func forbid(path *field.Path, detail string, options ...option) field.ErrorList {
	var errs field.ErrorList
	for _, o := range options {
		if o.set {
			errs = append(errs, field.Forbidden(path.Child(o.name), detail))
		}
	}
	return errs
}
