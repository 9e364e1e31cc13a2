package kinds

import (
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validatePartition(partition int32, at *field.Path) field.ErrorList {
	if partition < 0 || partition > 255 {
		return field.ErrorList{field.Invalid(at.Child("partition"), partition, validation.InclusiveRangeError(1, 255))}
	}
	return nil
}

// The three ways to name an iSCSI initiator or target (RFC 3720, 3980).
var iscsiNames = map[string]*regexp.Regexp{
	"iqn": regexp.MustCompile(`^iqn\.\d{4}-\d{2}\.([[:alnum:]-.]+)(:[^,;*&$|\s]+)$`),
	"eui": regexp.MustCompile(`^eui.[[:alnum:]]{16}$`),
	"naa": regexp.MustCompile(`^naa.[[:alnum:]]{32}$`),
}

func validateISCSIName(name string, at *field.Path) field.ErrorList {
	if pattern := iscsiNames[name[:min(len(name), 3)]]; pattern == nil || !pattern.MatchString(name) {
		return field.ErrorList{field.Invalid(at, name, "must be valid format")}
	}
	return nil
}

func validateISCSI(s *corev1.ISCSIPersistentVolumeSource, volume string, at *field.Path) field.ErrorList {
	errs := require(at, need{"targetPortal", s.TargetPortal != ""})
	if s.InitiatorName != nil && len(volume+":"+s.TargetPortal) > 64 {
		errs = append(errs, field.Invalid(at.Child("targetportal"), s.TargetPortal,
			"Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified."))
	}
	if s.IQN == "" {
		errs = append(errs, field.Required(at.Child("iqn"), ""))
	} else {
		errs = append(errs, validateISCSIName(s.IQN, at.Child("iqn"))...)
	}
	errs = append(errs, validateLun(s.Lun, at.Child("lun"))...)
	switch {
	case s.SecretRef != nil:
		errs = append(errs, require(at.Child("secretRef"), need{"name", s.SecretRef.Name != ""})...)
	case s.DiscoveryCHAPAuth || s.SessionCHAPAuth:
		errs = append(errs, field.Required(at.Child("secretRef"), ""))
	}
	if s.InitiatorName != nil {
		errs = append(errs, validateISCSIName(*s.InitiatorName, at.Child("initiatorname"))...)
	}
	return errs
}

func validateLun(lun int32, at *field.Path) field.ErrorList {
	if lun < 0 || lun > 255 {
		return field.ErrorList{field.Invalid(at, lun, validation.InclusiveRangeError(0, 255))}
	}
	return nil
}

func validateFibreChannel(s *corev1.FCVolumeSource, at *field.Path) field.ErrorList {
	names := at.Child("targetWWNs")
	switch {
	case len(s.TargetWWNs) == 0 && len(s.WWIDs) == 0:
		return field.ErrorList{field.Required(names, "must specify either targetWWNs or wwids, but not both")}
	case len(s.TargetWWNs) == 0:
		return nil
	}
	var errs field.ErrorList
	if len(s.WWIDs) > 0 {
		errs = append(errs, field.Invalid(names, s.TargetWWNs, "targetWWNs and wwids can not be specified simultaneously"))
	}
	if s.Lun == nil {
		return append(errs, field.Required(at.Child("lun"), "lun is required if targetWWNs is specified"))
	}
	return append(errs, validateLun(*s.Lun, at.Child("lun"))...)
}

func validateAzureDisk(s *corev1.AzureDiskVolumeSource, at *field.Path) field.ErrorList {
	errs := require(at, need{"diskName", s.DiskName != ""}, need{"diskURI", s.DataDiskURI != ""})
	if s.CachingMode != nil {
		errs = append(errs, oneOf(at.Child("cachingMode"), *s.CachingMode, corev1.AzureDataDiskCachingNone,
			corev1.AzureDataDiskCachingReadOnly, corev1.AzureDataDiskCachingReadWrite)...)
	}
	if s.Kind == nil {
		return errs
	}
	errs = append(errs, oneOf(at.Child("kind"), *s.Kind, corev1.AzureDedicatedBlobDisk, corev1.AzureManagedDisk, corev1.AzureSharedBlobDisk)...)
	managed := *s.Kind == corev1.AzureManagedDisk
	switch {
	case managed && !strings.HasPrefix(s.DataDiskURI, "/subscriptions/"):
		errs = append(errs, field.NotSupported(at.Child("diskURI"), s.DataDiskURI,
			[]string{"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"}))
	case !managed && !strings.HasPrefix(s.DataDiskURI, "https://"):
		errs = append(errs, field.NotSupported(at.Child("diskURI"), s.DataDiskURI,
			[]string{"https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"}))
	}
	return errs
}

func validateStorageOS(s *corev1.StorageOSPersistentVolumeSource, at *field.Path) field.ErrorList {
	errs := require(at, need{"volumeName", s.VolumeName != ""})
	if s.VolumeName != "" {
		errs = invalid(at.Child("volumeName"), s.VolumeName, validation.IsDNS1123Label(s.VolumeName))
	}
	if s.VolumeNamespace != "" {
		errs = append(errs, invalid(at.Child("volumeNamespace"), s.VolumeNamespace, validation.IsDNS1123Label(s.VolumeNamespace))...)
	}
	if ref := s.SecretRef; ref != nil {
		errs = append(errs, require(at.Child("secretRef"), need{"name", ref.Name != ""}, need{"namespace", ref.Namespace != ""})...)
	}
	return errs
}
