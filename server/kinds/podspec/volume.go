package podspec

import (
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxFileMode is the largest mode of a file in a volume: permissions only, no setuid bit.
const maxFileMode = 0o777

// validateVolumes returns the volumes that containers may refer to, by name.
func validateVolumes(volumes []corev1.Volume, at *field.Path) (map[string]corev1.VolumeSource, field.ErrorList) {
	var errs field.ErrorList
	known := make(map[string]corev1.VolumeSource, len(volumes))
	for i := range volumes {
		v, here := &volumes[i], at.Index(i)
		name := here.Child("name")
		_, again := known[v.Name]
		switch {
		case v.Name == "":
			errs = append(errs, field.Required(name, ""))
		case again:
			errs = append(errs, field.Duplicate(name, v.Name))
		default:
			errs = append(errs, invalid(name, v.Name, validation.IsDNS1123Label(v.Name))...)
		}
		known[v.Name] = v.VolumeSource
		errs = append(errs, validateSource(v, here)...)
	}
	return known, errs
}

func validateSource(v *corev1.Volume, at *field.Path) field.ErrorList {
	kinds := sourceNames(&v.VolumeSource)
	if len(kinds) == 0 {
		return field.ErrorList{field.Required(at, "must specify a volume type")}
	}
	var errs field.ErrorList
	for _, extra := range kinds[1:] {
		errs = append(errs, field.Forbidden(at.Child(extra), "may not specify more than 1 volume type"))
	}
	here := at.Child(kinds[0])
	switch {
	case v.HostPath != nil:
		errs = append(errs, ValidateHostPath(v.HostPath, here)...)
	case v.EmptyDir != nil:
		if limit := v.EmptyDir.SizeLimit; limit != nil && limit.Sign() < 0 {
			errs = append(errs, field.Forbidden(here.Child("sizeLimit"), "SizeLimit field must be a valid resource quantity"))
		}
	case v.Secret != nil:
		if v.Secret.SecretName == "" {
			errs = append(errs, field.Required(here.Child("secretName"), ""))
		}
		errs = append(errs, validateMode(v.Secret.DefaultMode, here.Child("defaultMode"))...)
		errs = append(errs, validateItems(v.Secret.Items, here.Child("items"))...)
	case v.ConfigMap != nil:
		if v.ConfigMap.Name == "" {
			errs = append(errs, field.Required(here.Child("name"), ""))
		}
		errs = append(errs, validateMode(v.ConfigMap.DefaultMode, here.Child("defaultMode"))...)
		errs = append(errs, validateItems(v.ConfigMap.Items, here.Child("items"))...)
	case v.DownwardAPI != nil:
		errs = append(errs, validateMode(v.DownwardAPI.DefaultMode, here.Child("defaultMode"))...)
		errs = append(errs, validateDownward(v.DownwardAPI.Items, here)...)
	case v.Projected != nil:
		errs = append(errs, validateProjected(v.Projected, here)...)
	case v.PersistentVolumeClaim != nil:
		if v.PersistentVolumeClaim.ClaimName == "" {
			errs = append(errs, field.Required(here.Child("claimName"), ""))
		}
	case v.Ephemeral != nil:
		if template := v.Ephemeral.VolumeClaimTemplate; template == nil {
			errs = append(errs, field.Required(here.Child("volumeClaimTemplate"), ""))
		} else {
			errs = append(errs, ValidateClaim(&template.Spec, here.Child("volumeClaimTemplate", "spec"))...)
		}
	case v.NFS != nil:
		errs = append(errs, ValidateNFS(v.NFS, here)...)
	case v.Image != nil:
		errs = append(errs, oneOf(here.Child("pullPolicy"), v.Image.PullPolicy,
			corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	}
	return errs
}

// ValidateHostPath checks a path of the node.
func ValidateHostPath(source *corev1.HostPathVolumeSource, at *field.Path) field.ErrorList {
	if source.Path == "" {
		return field.ErrorList{field.Required(at.Child("path"), "")}
	}
	errs := ForbidBacksteps(source.Path, at.Child("path"))
	if source.Type != nil {
		errs = append(errs, oneOf(at.Child("type"), *source.Type, corev1.HostPathUnset, corev1.HostPathBlockDev,
			corev1.HostPathCharDev, corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate,
			corev1.HostPathFile, corev1.HostPathFileOrCreate, corev1.HostPathSocket)...)
	}
	return errs
}

// ValidateNFS checks a share of an NFS server.
func ValidateNFS(source *corev1.NFSVolumeSource, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if source.Server == "" {
		errs = append(errs, field.Required(at.Child("server"), ""))
	}
	if source.Path == "" {
		errs = append(errs, field.Required(at.Child("path"), ""))
	} else if !path.IsAbs(source.Path) {
		errs = append(errs, field.Invalid(at.Child("path"), source.Path, "must be an absolute path"))
	}
	return errs
}

func validateProjected(p *corev1.ProjectedVolumeSource, at *field.Path) field.ErrorList {
	errs := validateMode(p.DefaultMode, at.Child("defaultMode"))
	for i, source := range p.Sources {
		here := at.Child("sources").Index(i)
		count := 0
		if source.Secret != nil {
			count++
			if source.Secret.Name == "" {
				errs = append(errs, field.Required(here.Child("secret", "name"), ""))
			}
			errs = append(errs, validateItems(source.Secret.Items, here.Child("secret", "items"))...)
		}
		if source.ConfigMap != nil {
			count++
			if source.ConfigMap.Name == "" {
				errs = append(errs, field.Required(here.Child("configMap", "name"), ""))
			}
			errs = append(errs, validateItems(source.ConfigMap.Items, here.Child("configMap", "items"))...)
		}
		if source.DownwardAPI != nil {
			count++
			errs = append(errs, validateDownward(source.DownwardAPI.Items, here.Child("downwardAPI"))...)
		}
		if source.ServiceAccountToken != nil {
			count++
			errs = append(errs, validateToken(source.ServiceAccountToken, here.Child("serviceAccountToken"))...)
		}
		if count > 1 {
			errs = append(errs, field.Forbidden(here, "may not specify more than 1 volume type per source"))
		}
	}
	return errs
}

func validateToken(source *corev1.ServiceAccountTokenProjection, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	const tenMinutes, longest = 10 * 60, 1 << 32
	if seconds := source.ExpirationSeconds; seconds != nil && *seconds < tenMinutes {
		errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *seconds, "may not specify a duration less than 10 minutes"))
	} else if seconds != nil && *seconds > longest {
		errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *seconds, "may not specify a duration larger than 2^32 seconds"))
	}
	return append(errs, validateRelative(source.Path, at.Child("path"))...)
}

func validateMode(mode *int32, at *field.Path) field.ErrorList {
	if mode != nil && (*mode < 0 || *mode > maxFileMode) {
		return field.ErrorList{field.Invalid(at, *mode, "must be a number between 0 and 0777 (octal), both inclusive")}
	}
	return nil
}

func validateItems(items []corev1.KeyToPath, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, item := range items {
		here := at.Index(i)
		if item.Key == "" {
			errs = append(errs, field.Required(here.Child("key"), ""))
		}
		errs = append(errs, validateRelative(item.Path, here.Child("path"))...)
		errs = append(errs, validateMode(item.Mode, here.Child("mode"))...)
	}
	return errs
}

func validateDownward(items []corev1.DownwardAPIVolumeFile, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, item := range items {
		errs = append(errs, validateRelative(item.Path, at.Child("path"))...)
		errs = append(errs, validateMode(item.Mode, at.Child("mode"))...)
		switch {
		case item.FieldRef != nil && item.ResourceFieldRef != nil:
			errs = append(errs, field.Invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
		case item.FieldRef != nil:
			errs = append(errs, validateFieldRef(item.FieldRef, volumeFields, at.Child("fieldRef"))...)
		case item.ResourceFieldRef != nil:
			errs = append(errs, validateResourceRef(item.ResourceFieldRef, true, at.Child("resourceFieldRef"))...)
		default:
			errs = append(errs, field.Required(at, "one of fieldRef and resourceFieldRef is required"))
		}
	}
	return errs
}

// validateRelative keeps a file inside its volume: CVE-2017-1002101 and its kin came in by such paths.
func validateRelative(name string, at *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	errs := validateLocal(name, at)
	if strings.HasPrefix(name, "..") && !strings.HasPrefix(name, "../") && name != ".." {
		errs = append(errs, field.Invalid(at, name, "must not start with '..'"))
	}
	return errs
}

func validateLocal(name string, at *field.Path) field.ErrorList {
	if path.IsAbs(name) {
		return field.ErrorList{field.Invalid(at, name, "must be a relative path")}
	}
	return ForbidBacksteps(name, at)
}

// ForbidBacksteps refuses a path that leads upwards.
func ForbidBacksteps(name string, at *field.Path) field.ErrorList {
	for _, part := range strings.Split(name, "/") {
		if part == ".." {
			return field.ErrorList{field.Invalid(at, name, "must not contain '..'")}
		}
	}
	return nil
}

// mounts checks what a container mounts against the volumes of its pod.
func (s *containerScope) mounts(c *corev1.Container, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	paths := sets.New[string]()
	for i, m := range c.VolumeMounts {
		here := at.Child("volumeMounts").Index(i)
		if m.Name == "" {
			errs = append(errs, field.Required(here.Child("name"), ""))
		} else if _, found := s.volumes[m.Name]; !found {
			errs = append(errs, field.NotFound(here.Child("name"), m.Name))
		}
		if m.MountPath == "" {
			errs = append(errs, field.Required(here.Child("mountPath"), ""))
		}
		if paths.Has(m.MountPath) {
			errs = append(errs, field.Invalid(here.Child("mountPath"), m.MountPath, "must be unique"))
		}
		paths.Insert(m.MountPath)
		errs = append(errs, validateSubPath(m, here)...)
		errs = append(errs, validatePropagation(m, c, here)...)
	}
	for i, d := range c.VolumeDevices {
		here := at.Child("volumeDevices").Index(i)
		if source, found := s.volumes[d.Name]; !found {
			errs = append(errs, field.NotFound(here.Child("name"), d.Name))
		} else if source.PersistentVolumeClaim == nil && source.Ephemeral == nil {
			errs = append(errs, field.Invalid(here.Child("name"), d.Name,
				"can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"))
		}
		if d.DevicePath == "" {
			errs = append(errs, field.Required(here.Child("devicePath"), ""))
		}
		if paths.Has(d.DevicePath) {
			errs = append(errs, field.Invalid(here.Child("devicePath"), d.DevicePath, "must be unique"))
		}
		paths.Insert(d.DevicePath)
	}
	return errs
}

func validateSubPath(m corev1.VolumeMount, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if m.SubPath != "" {
		errs = append(errs, validateLocal(m.SubPath, at.Child("subPath"))...)
	}
	if m.SubPathExpr != "" {
		if m.SubPath != "" {
			errs = append(errs, field.Invalid(at.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive"))
		}
		errs = append(errs, validateLocal(m.SubPathExpr, at.Child("subPathExpr"))...)
	}
	return errs
}

func validatePropagation(m corev1.VolumeMount, c *corev1.Container, at *field.Path) field.ErrorList {
	if m.MountPropagation == nil {
		return nil
	}
	here := at.Child("mountPropagation")
	errs := oneOf(here, *m.MountPropagation,
		corev1.MountPropagationBidirectional, corev1.MountPropagationHostToContainer, corev1.MountPropagationNone)
	privileged := c.SecurityContext != nil && c.SecurityContext.Privileged != nil && *c.SecurityContext.Privileged
	if *m.MountPropagation == corev1.MountPropagationBidirectional && !privileged {
		errs = append(errs, field.Forbidden(here,
			fmt.Sprintf("%s mount propagation is available only to privileged containers", *m.MountPropagation)))
	}
	return errs
}
