package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validatePodSecurity(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	path = path.Child("securityContext")
	var errs field.ErrorList
	if spec.HostUsers != nil && !*spec.HostUsers {
		errs = append(errs, forbid(path, "when `hostUsers` is false", option{"hostNetwork", spec.HostNetwork},
			option{"hostPID", spec.HostPID}, option{"hostIPC", spec.HostIPC})...)
	}
	sc := spec.SecurityContext
	if sc == nil {
		return errs
	}
	if spec.HostPID && spec.ShareProcessNamespace != nil && *spec.ShareProcessNamespace {
		errs = append(errs, field.Invalid(path.Child("shareProcessNamespace"), *spec.ShareProcessNamespace,
			"ShareProcessNamespace and HostPID cannot both be enabled"))
	}
	errs = append(errs, validateUser(sc.RunAsUser, path.Child("runAsUser"))...)
	errs = append(errs, validateGroup(sc.RunAsGroup, path.Child("runAsGroup"))...)
	errs = append(errs, validateGroup(sc.FSGroup, path.Child("fsGroup"))...)
	for i := range sc.SupplementalGroups {
		errs = append(errs, validateGroup(&sc.SupplementalGroups[i], path.Child("supplementalGroups").Index(i))...)
	}
	if sc.FSGroupChangePolicy != nil {
		errs = append(errs, oneOf(path.Child("fsGroupChangePolicy"), *sc.FSGroupChangePolicy,
			corev1.FSGroupChangeAlways, corev1.FSGroupChangeOnRootMismatch)...)
	}
	errs = append(errs, validateSysctls(sc.Sysctls, path.Child("sysctls"))...)
	errs = append(errs, validateSeccomp(sc.SeccompProfile, path.Child("seccompProfile"))...)
	errs = append(errs, validateAppArmor(sc.AppArmorProfile, path.Child("appArmorProfile"))...)
	return errs
}

func validateSysctls(sysctls []corev1.Sysctl, path *field.Path) field.ErrorList {
	const pattern, maxLength = `^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`, 253
	var errs field.ErrorList
	names := sets.New[string]()
	for i, s := range sysctls {
		at := path.Index(i).Child("name")
		name := strings.ReplaceAll(s.Name, "/", ".")
		switch {
		case s.Name == "":
			errs = append(errs, field.Required(at, ""))
		case len(s.Name) > maxLength || !sysctlName(s.Name):
			errs = append(errs, field.Invalid(at, s.Name,
				fmt.Sprintf("must have at most %d characters and match regex %s", maxLength, pattern)))
		case names.Has(name):
			errs = append(errs, field.Duplicate(at, s.Name))
		}
		names.Insert(name)
	}
	return errs
}

// sysctlName reports dot- or slash-separated words of lower-case letters, digits, and inner dashes and underscores.
func sysctlName(name string) bool {
	for _, word := range strings.FieldsFunc(name+".", func(r rune) bool { return r == '.' || r == '/' }) {
		if strings.Trim(word, "-_") != word || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return !strings.ContainsAny(name[:1]+name[len(name)-1:], "./") &&
		!strings.Contains(strings.ReplaceAll(name, "/", "."), "..")
}

func validateSecurity(sc *corev1.SecurityContext, path *field.Path) field.ErrorList {
	if sc == nil {
		return nil
	}
	errs := validateUser(sc.RunAsUser, path.Child("runAsUser"))
	errs = append(errs, validateGroup(sc.RunAsGroup, path.Child("runAsGroup"))...)
	if sc.ProcMount != nil {
		errs = append(errs, oneOf(path.Child("procMount"), *sc.ProcMount, corev1.DefaultProcMount, corev1.UnmaskedProcMount)...)
	}
	errs = append(errs, validateSeccomp(sc.SeccompProfile, path.Child("seccompProfile"))...)
	errs = append(errs, validateAppArmor(sc.AppArmorProfile, path.Child("appArmorProfile"))...)
	if sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation {
		return errs
	}
	const escalates = "cannot set `allowPrivilegeEscalation` to false and `%s` to true"
	if sc.Privileged != nil && *sc.Privileged {
		errs = append(errs, field.Invalid(path, sc, fmt.Sprintf(escalates, "privileged")))
	}
	if sc.Capabilities != nil {
		for _, capability := range sc.Capabilities.Add {
			if capability == "CAP_SYS_ADMIN" || capability == "SYS_ADMIN" {
				errs = append(errs, field.Invalid(path, sc,
					"cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
			}
		}
	}
	return errs
}

func validateUser(id *int64, path *field.Path) field.ErrorList {
	if id == nil {
		return nil
	}
	return invalid(path, *id, validation.IsValidUserID(*id))
}

func validateGroup(id *int64, path *field.Path) field.ErrorList {
	if id == nil {
		return nil
	}
	return invalid(path, *id, validation.IsValidGroupID(*id))
}

func validateSeccomp(p *corev1.SeccompProfile, path *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	errs := requireOneOf(path.Child("type"), p.Type,
		corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined)
	at := path.Child("localhostProfile")
	if p.Type == corev1.SeccompProfileTypeLocalhost {
		if p.LocalhostProfile == nil {
			return append(errs, field.Required(at, "must be set when seccomp type is Localhost"))
		}
		return append(errs, validateLocal(*p.LocalhostProfile, at)...)
	}
	if p.LocalhostProfile != nil {
		errs = append(errs, field.Invalid(at, *p.LocalhostProfile, "can only be set when seccomp type is Localhost"))
	}
	return errs
}

func validateAppArmor(p *corev1.AppArmorProfile, path *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	errs := requireOneOf(path.Child("type"), p.Type,
		corev1.AppArmorProfileTypeLocalhost, corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined)
	at := path.Child("localhostProfile")
	if p.Type == corev1.AppArmorProfileTypeLocalhost {
		if p.LocalhostProfile == nil || strings.TrimSpace(*p.LocalhostProfile) == "" {
			errs = append(errs, field.Required(at, "must be set when AppArmor type is Localhost"))
		}
	} else if p.LocalhostProfile != nil {
		errs = append(errs, field.Invalid(at, *p.LocalhostProfile, "can only be set when AppArmor type is Localhost"))
	}
	return errs
}
