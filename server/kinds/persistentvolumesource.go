package kinds

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/server/kinds/podspec"
)

// volumeSource is one of the ways to provide a volume: its field, whether it is used, and then its errors.
type volumeSource struct {
	name     string
	used     bool
	validate func(at *field.Path) field.ErrorList
}

// validateVolumeSource wants exactly one source.
func validateVolumeSource(v *corev1.PersistentVolume, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	found := false
	for _, s := range append(nodeSources(v, spec), append(fileSources(v), blockSources(v)...)...) {
		switch {
		case !s.used:
			continue
		case found:
			errs = append(errs, field.Forbidden(spec.Child(s.name), "may not specify more than 1 volume type"))
		default:
			errs = append(errs, s.validate(spec.Child(s.name))...)
		}
		found = true
	}
	if !found {
		errs = append(errs, field.Required(spec, "must specify a volume type"))
	}
	return errs
}

// nodeSources are on a node itself, or of a driver that is.
func nodeSources(v *corev1.PersistentVolume, spec *field.Path) []volumeSource {
	s := &v.Spec.PersistentVolumeSource
	return []volumeSource{
		{"hostPath", s.HostPath != nil, func(at *field.Path) field.ErrorList { return podspec.ValidateHostPath(s.HostPath, at) }},
		{"local", s.Local != nil, func(at *field.Path) field.ErrorList { return validateLocalVolume(v, spec, at) }},
		{"csi", s.CSI != nil, func(at *field.Path) field.ErrorList { return validateCSI(s.CSI, at) }},
		{"flexVolume", s.FlexVolume != nil, func(at *field.Path) field.ErrorList { return validateFlex(s.FlexVolume, at) }},
	}
}

// fileSources are shared file systems.
func fileSources(v *corev1.PersistentVolume) []volumeSource {
	s := &v.Spec.PersistentVolumeSource
	return []volumeSource{
		{"nfs", s.NFS != nil, func(at *field.Path) field.ErrorList { return podspec.ValidateNFS(s.NFS, at) }},
		{"glusterfs", s.Glusterfs != nil, func(at *field.Path) field.ErrorList { return validateGluster(s.Glusterfs, at) }},
		{"cephfs", s.CephFS != nil, func(at *field.Path) field.ErrorList {
			return require(at, need{"monitors", len(s.CephFS.Monitors) > 0})
		}},
		{"quobyte", s.Quobyte != nil, func(at *field.Path) field.ErrorList { return validateQuobyte(s.Quobyte, at) }},
		{"azureFile", s.AzureFile != nil, func(at *field.Path) field.ErrorList {
			f := s.AzureFile
			return require(at, need{"secretName", f.SecretName != ""}, need{"shareName", f.ShareName != ""},
				need{"secretNamespace", f.SecretNamespace == nil || *f.SecretNamespace != ""})
		}},
		{"flocker", s.Flocker != nil, func(at *field.Path) field.ErrorList { return validateFlocker(s.Flocker, at) }},
	}
}

// blockSources are disks that are attached.
func blockSources(v *corev1.PersistentVolume) []volumeSource {
	s := &v.Spec.PersistentVolumeSource
	return []volumeSource{
		{"gcePersistentDisk", s.GCEPersistentDisk != nil, func(at *field.Path) field.ErrorList {
			d := s.GCEPersistentDisk
			return append(require(at, need{"pdName", d.PDName != ""}), validatePartition(d.Partition, at)...)
		}},
		{"awsElasticBlockStore", s.AWSElasticBlockStore != nil, func(at *field.Path) field.ErrorList {
			d := s.AWSElasticBlockStore
			return append(require(at, need{"volumeID", d.VolumeID != ""}), validatePartition(d.Partition, at)...)
		}},
		{"rbd", s.RBD != nil, func(at *field.Path) field.ErrorList {
			return require(at, need{"monitors", len(s.RBD.CephMonitors) > 0}, need{"image", s.RBD.RBDImage != ""})
		}},
		{"iscsi", s.ISCSI != nil, func(at *field.Path) field.ErrorList { return validateISCSI(s.ISCSI, v.Name, at) }},
		{"cinder", s.Cinder != nil, func(at *field.Path) field.ErrorList {
			errs := require(at, need{"volumeID", s.Cinder.VolumeID != ""})
			if ref := s.Cinder.SecretRef; ref != nil {
				errs = append(errs, require(at.Child("secretRef"), need{"name", ref.Name != ""}, need{"namespace", ref.Namespace != ""})...)
			}
			return errs
		}},
		{"fc", s.FC != nil, func(at *field.Path) field.ErrorList { return validateFibreChannel(s.FC, at) }},
		{"vsphereVolume", s.VsphereVolume != nil, func(at *field.Path) field.ErrorList {
			return require(at, need{"volumePath", s.VsphereVolume.VolumePath != ""})
		}},
		{"photonPersistentDisk", s.PhotonPersistentDisk != nil, func(at *field.Path) field.ErrorList {
			return require(at, need{"pdID", s.PhotonPersistentDisk.PdID != ""})
		}},
		{"portworxVolume", s.PortworxVolume != nil, func(at *field.Path) field.ErrorList {
			return require(at, need{"volumeID", s.PortworxVolume.VolumeID != ""})
		}},
		{"azureDisk", s.AzureDisk != nil, func(at *field.Path) field.ErrorList { return validateAzureDisk(s.AzureDisk, at) }},
		{"scaleIO", s.ScaleIO != nil, func(at *field.Path) field.ErrorList {
			return require(at, need{"gateway", s.ScaleIO.Gateway != ""}, need{"system", s.ScaleIO.System != ""},
				need{"volumeName", s.ScaleIO.VolumeName != ""})
		}},
		{"storageos", s.StorageOS != nil, func(at *field.Path) field.ErrorList { return validateStorageOS(s.StorageOS, at) }},
	}
}

// need is a field that must be set, and whether it is.
type need struct {
	name string
	set  bool
}

func require(at *field.Path, needs ...need) field.ErrorList {
	var errs field.ErrorList
	for _, n := range needs {
		if !n.set {
			errs = append(errs, field.Required(at.Child(n.name), ""))
		}
	}
	return errs
}
