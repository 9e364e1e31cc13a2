package kinds

import (
	"net"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/server/kinds/podspec"
)

func validateLocalVolume(v *corev1.PersistentVolume, spec, at *field.Path) field.ErrorList {
	errs := require(at, need{"path", v.Spec.Local.Path != ""})
	errs = append(errs, podspec.ForbidBacksteps(v.Spec.Local.Path, at.Child("path"))...)
	if v.Spec.NodeAffinity == nil {
		errs = append(errs, field.Required(spec.Child("nodeAffinity"), "Local volume requires node affinity"))
	}
	return errs
}

// maxDriverName is CSI's own limit.
const maxDriverName = 63

func validateCSI(s *corev1.CSIPersistentVolumeSource, at *field.Path) field.ErrorList {
	errs := require(at, need{"driver", s.Driver != ""})
	if s.Driver != "" {
		if len(s.Driver) > maxDriverName {
			errs = append(errs, field.TooLong(at.Child("driver"), "", maxDriverName))
		}
		errs = append(errs, invalid(at.Child("driver"), s.Driver, validation.IsDNS1123Subdomain(strings.ToLower(s.Driver)))...)
	}
	errs = append(errs, require(at, need{"volumeHandle", s.VolumeHandle != ""})...)
	for _, secret := range []struct {
		name string
		ref  *corev1.SecretReference
	}{
		{"controllerPublishSecretRef", s.ControllerPublishSecretRef}, {"controllerExpandSecretRef", s.ControllerExpandSecretRef},
		{"nodePublishSecretRef", s.NodePublishSecretRef}, {"nodeExpandSecretRef", s.NodeExpandSecretRef},
	} {
		if secret.ref != nil {
			errs = append(errs, validateSecretRef(secret.ref, at.Child(secret.name))...)
		}
	}
	return errs
}

func validateSecretRef(ref *corev1.SecretReference, at *field.Path) field.ErrorList {
	errs := require(at, need{"name", ref.Name != ""})
	if ref.Name != "" {
		errs = invalid(at.Child("name"), ref.Name, validation.IsDNS1123Subdomain(ref.Name))
	}
	if ref.Namespace == "" {
		return append(errs, field.Required(at.Child("namespace"), ""))
	}
	return append(errs, invalid(at.Child("namespace"), ref.Namespace, validation.IsDNS1123Label(ref.Namespace))...)
}

func validateFlex(s *corev1.FlexPersistentVolumeSource, at *field.Path) field.ErrorList {
	errs := require(at, need{"driver", s.Driver != ""})
	for _, key := range sortedKeys(s.Options) {
		domain, _, _ := strings.Cut(key, "/")
		if domain = "." + strings.ToLower(domain); strings.HasSuffix(domain, ".kubernetes.io") || strings.HasSuffix(domain, ".k8s.io") {
			errs = append(errs, field.Invalid(at.Child("options").Key(key), key, "kubernetes.io and k8s.io namespaces are reserved"))
		}
	}
	return errs
}

func validateGluster(s *corev1.GlusterfsPersistentVolumeSource, at *field.Path) field.ErrorList {
	errs := require(at, need{"endpoints", s.EndpointsName != ""}, need{"path", s.Path != ""})
	switch namespace, here := s.EndpointsNamespace, at.Child("endpointsNamespace"); {
	case namespace == nil:
	case *namespace == "":
		errs = append(errs, field.Invalid(here, "", "if the endpointnamespace is set, it must be a valid namespace name"))
	default:
		errs = append(errs, invalid(here, *namespace, apivalidation.ValidateNamespaceName(*namespace, false))...)
	}
	return errs
}

func validateQuobyte(s *corev1.QuobyteVolumeSource, at *field.Path) field.ErrorList {
	const pairs = "must be a host:port pair or multiple pairs separated by commas"
	var errs field.ErrorList
	switch {
	case s.Registry == "":
		errs = append(errs, field.Required(at.Child("registry"), pairs))
	case len(s.Tenant) > 64:
		errs = append(errs, field.Required(at.Child("tenant"), "must be a UUID and may not exceed a length of 64 characters"))
	default:
		for _, pair := range strings.Split(s.Registry, ",") {
			if _, _, err := net.SplitHostPort(pair); err != nil {
				errs = append(errs, field.Invalid(at.Child("registry"), s.Registry, pairs))
			}
		}
	}
	return append(errs, require(at, need{"volume", s.Volume != ""})...)
}

func validateFlocker(s *corev1.FlockerVolumeSource, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case s.DatasetName == "" && s.DatasetUUID == "":
		errs = append(errs, field.Required(at, "one of datasetName and datasetUUID is required"))
	case s.DatasetName != "" && s.DatasetUUID != "":
		errs = append(errs, field.Invalid(at, "resource", "datasetName and datasetUUID can not be specified simultaneously"))
	}
	if strings.Contains(s.DatasetName, "/") {
		errs = append(errs, field.Invalid(at.Child("datasetName"), s.DatasetName, "must not contain '/'"))
	}
	return errs
}
