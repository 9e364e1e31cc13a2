package podspec

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func hostPortKey(port corev1.ContainerPort) string {
	return string(port.Protocol) + "/" + port.HostIP + "/" + strconv.Itoa(int(port.HostPort))
}

var (
	// envFields are the fields of a pod that an environment variable may show; volumeFields those that a file may.
	envFields = sets.New("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
		"spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs")
	volumeFields = sets.New("metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid")
	// containerResources may be shown by either, and huge pages of any size too.
	containerResources = sets.New("limits.cpu", "limits.memory", "limits.ephemeral-storage",
		"requests.cpu", "requests.memory", "requests.ephemeral-storage")
)

func validateEnv(vars []corev1.EnvVar, volumes map[string]corev1.VolumeSource, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, v := range vars {
		at := path.Index(i)
		if v.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		} else {
			errs = append(errs, invalid(at.Child("name"), v.Name, validation.IsRelaxedEnvVarName(v.Name))...)
		}
		if v.ValueFrom != nil {
			errs = append(errs, validateEnvSource(v, volumes, at.Child("valueFrom"))...)
		}
	}
	return errs
}

func validateEnvSource(v corev1.EnvVar, volumes map[string]corev1.VolumeSource, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	from, sources := v.ValueFrom, 0
	if from.FieldRef != nil {
		sources++
		errs = append(errs, validateFieldRef(from.FieldRef, envFields, path.Child("fieldRef"))...)
	}
	if from.ResourceFieldRef != nil {
		sources++
		errs = append(errs, validateResourceRef(from.ResourceFieldRef, false, path.Child("resourceFieldRef"))...)
	}
	if ref := from.ConfigMapKeyRef; ref != nil {
		sources++
		errs = append(errs, validateKey(ref.Key, path.Child("configMapKeyRef", "key"))...)
	}
	if ref := from.SecretKeyRef; ref != nil {
		sources++
		errs = append(errs, validateKey(ref.Key, path.Child("secretKeyRef", "key"))...)
	}
	if ref := from.FileKeyRef; ref != nil {
		sources++
		at := path.Child("fileKeyRef")
		errs = append(errs, validateRelative(ref.Path, at.Child("path"))...)
		if _, found := volumes[ref.VolumeName]; !found {
			errs = append(errs, field.NotFound(at.Child("volumeName"), ref.VolumeName))
		}
	}
	switch {
	case sources == 0:
		errs = append(errs, field.Invalid(path, "",
			"must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"))
	case v.Value != "":
		errs = append(errs, field.Invalid(path, "", "may not be specified when `value` is not empty"))
	case sources > 1:
		errs = append(errs, field.Invalid(path, "", "may not have more than one field specified at a time"))
	}
	return errs
}

func validateKey(key string, path *field.Path) field.ErrorList {
	if key == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return invalid(path, key, validation.IsConfigMapKey(key))
}

func validateFieldRef(ref *corev1.ObjectFieldSelector, allowed sets.Set[string], path *field.Path) field.ErrorList {
	at := path.Child("fieldPath")
	switch {
	case ref.APIVersion != "v1":
		return field.ErrorList{field.NotSupported(path.Child("apiVersion"), ref.APIVersion, []string{"v1"})}
	case ref.FieldPath == "":
		return field.ErrorList{field.Required(at, "")}
	}
	if base, key, subscripted := strings.Cut(ref.FieldPath, "['"); subscripted && strings.HasSuffix(key, "']") {
		key = strings.TrimSuffix(key, "']")
		switch base {
		case "metadata.annotations":
			return invalid(at, key, validation.IsQualifiedName(strings.ToLower(key)))
		case "metadata.labels":
			return invalid(at, key, validation.IsQualifiedName(key))
		}
		return field.ErrorList{field.Invalid(at, base, "does not support subscript")}
	}
	if !allowed.Has(ref.FieldPath) {
		return field.ErrorList{field.NotSupported(at, ref.FieldPath, sets.List(allowed))}
	}
	return nil
}

func validateResourceRef(ref *corev1.ResourceFieldSelector, inVolume bool, path *field.Path) field.ErrorList {
	if inVolume && ref.ContainerName == "" {
		return field.ErrorList{field.Required(path.Child("containerName"), "")}
	}
	if ref.Resource == "" {
		return field.ErrorList{field.Required(path.Child("resource"), "")}
	}
	pages := strings.HasPrefix(ref.Resource, "limits.hugepages-") || strings.HasPrefix(ref.Resource, "requests.hugepages-")
	if !pages && !containerResources.Has(ref.Resource) {
		return field.ErrorList{field.NotSupported(path.Child("resource"), ref.Resource, sets.List(containerResources))}
	}
	return validateDivisor(ref, path.Child("divisor"))
}

func validateDivisor(ref *corev1.ResourceFieldSelector, path *field.Path) field.ErrorList {
	divisor := ref.Divisor.String()
	if divisor == "0" {
		return nil
	}
	allowed, unit := sets.New("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"), "memory"
	if strings.HasSuffix(ref.Resource, ".cpu") {
		allowed, unit = sets.New("1m", "1"), "cpu"
	}
	if allowed.Has(divisor) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, divisor,
		fmt.Sprintf("only divisor's values %s are supported with the %s resource", strings.Join(sets.List(allowed), ", "), unit))}
}

func validateEnvFrom(sources []corev1.EnvFromSource, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, source := range sources {
		at, count := path.Index(i), 0
		if source.Prefix != "" {
			errs = append(errs, invalid(at.Child("prefix"), source.Prefix, validation.IsRelaxedEnvVarName(source.Prefix))...)
		}
		if source.ConfigMapRef != nil {
			count++
			if source.ConfigMapRef.Name == "" {
				errs = append(errs, field.Required(at.Child("configMapRef", "name"), ""))
			}
		}
		if source.SecretRef != nil {
			count++
			if source.SecretRef.Name == "" {
				errs = append(errs, field.Required(at.Child("secretRef", "name"), ""))
			}
		}
		switch {
		case count == 0:
			errs = append(errs, field.Invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"))
		case count > 1:
			errs = append(errs, field.Invalid(at, "", "may not have more than one field specified at a time"))
		}
	}
	return errs
}
