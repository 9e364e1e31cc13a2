package pods

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// unsupported says what a pod asks for that this node cannot do, or nothing.
func unsupported(pod *corev1.Pod) string {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i].VolumeSource
		if v.EmptyDir == nil && v.HostPath == nil && v.ConfigMap == nil && v.Secret == nil {
			return fmt.Sprintf("volume %q is of a type that this node cannot mount; it can mount emptyDir, hostPath, configMap and secret",
				pod.Spec.Volumes[i].Name)
		}
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for _, m := range list[i].VolumeMounts {
				if m.SubPath != "" || m.SubPathExpr != "" {
					return fmt.Sprintf("container %q: subPath is not supported on this node", list[i].Name)
				}
			}
			if len(list[i].VolumeDevices) > 0 {
				return fmt.Sprintf("container %q: volumeDevices are not supported on this node", list[i].Name)
			}
		}
	}
	switch {
	case pod.Spec.RuntimeClassName != nil && *pod.Spec.RuntimeClassName != "":
		return "runtimeClassName is not supported on this node"
	case pod.Spec.ShareProcessNamespace != nil && *pod.Spec.ShareProcessNamespace:
		return "shareProcessNamespace is not supported on this node"
	case pod.Spec.HostUsers != nil && !*pod.Spec.HostUsers:
		return "hostUsers=false is not supported on this node"
	case pod.Spec.OS != nil && pod.Spec.OS.Name != corev1.Linux:
		return fmt.Sprintf("os %q is not this node's", pod.Spec.OS.Name)
	}
	return ""
}

// readOnlyVolume tells whether a volume is never written by containers.
func readOnlyVolume(pod *corev1.Pod, name string) bool {
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.Name == name {
			return v.ConfigMap != nil || v.Secret != nil
		}
	}
	return false
}

// volumes makes the pod's volumes. It gives their places by name, with an error too. It may be repeated.
func (g *ground) volumes(ctx context.Context, pod *corev1.Pod) (map[string]string, error) {
	out := map[string]string{}
	var errs []error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		dir := filepath.Join(g.dir, "volumes", "v", v.Name)
		if v.HostPath != nil {
			dir = v.HostPath.Path
		}
		out[v.Name] = dir
		var err error
		switch {
		case v.HostPath != nil:
			err = checkHostPath(v.HostPath)
		case v.EmptyDir != nil:
			err = makeEmptyDir(dir, v.EmptyDir, fsGroup(pod))
		case v.ConfigMap != nil:
			err = g.configMap(ctx, pod, v.ConfigMap, dir)
		case v.Secret != nil:
			err = g.secret(ctx, pod, v.Secret, dir)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("volume %q: %w", v.Name, err))
		}
	}
	return out, errors.Join(errs...)
}

func fsGroup(pod *corev1.Pod) *int64 {
	if sc := pod.Spec.SecurityContext; sc != nil {
		return sc.FSGroup
	}
	return nil
}

func makeEmptyDir(dir string, v *corev1.EmptyDirVolumeSource, group *int64) error {
	_, err := os.Lstat(dir)
	fresh := errors.Is(err, fs.ErrNotExist)
	if v.Medium == corev1.StorageMediumMemory {
		options := "mode=1777"
		if v.SizeLimit != nil && !v.SizeLimit.IsZero() {
			options += fmt.Sprintf(",size=%d", v.SizeLimit.Value())
		}
		if err := mountTmpfs(dir, options); err != nil {
			return err
		}
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if !fresh {
		return nil // what containers changed stays
	}
	mode := os.FileMode(0o777)
	if group != nil {
		if err := os.Lchown(dir, -1, int(*group)); err != nil {
			return err
		}
		mode |= os.ModeSetgid
	}
	return os.Chmod(dir, mode)
}

func checkHostPath(v *corev1.HostPathVolumeSource) error {
	if !filepath.IsAbs(v.Path) {
		return fmt.Errorf("hostPath %q is not absolute", v.Path)
	}
	kind := corev1.HostPathUnset
	if v.Type != nil {
		kind = *v.Type
	}
	switch kind {
	case corev1.HostPathUnset:
		_, err := os.Stat(v.Path)
		if errors.Is(err, fs.ErrNotExist) { // as container runtimes do
			return os.MkdirAll(v.Path, 0o755)
		}
		return err
	case corev1.HostPathDirectoryOrCreate:
		return os.MkdirAll(v.Path, 0o755)
	case corev1.HostPathFileOrCreate:
		f, err := os.OpenFile(v.Path, os.O_RDONLY|os.O_CREATE|unix.O_NONBLOCK, 0o644)
		if err != nil {
			return err
		}
		return f.Close()
	}
	info, err := os.Stat(v.Path)
	if err != nil {
		return err
	}
	m := info.Mode()
	ok := map[corev1.HostPathType]bool{
		corev1.HostPathDirectory: m.IsDir(),
		corev1.HostPathFile:      m.IsRegular(),
		corev1.HostPathSocket:    m&os.ModeSocket != 0,
		corev1.HostPathCharDev:   m&os.ModeCharDevice != 0,
		corev1.HostPathBlockDev:  m&os.ModeDevice != 0 && m&os.ModeCharDevice == 0,
	}
	if !ok[kind] {
		return fmt.Errorf("hostPath %s is not of type %s", v.Path, kind)
	}
	return nil
}

func (g *ground) configMap(ctx context.Context, pod *corev1.Pod, v *corev1.ConfigMapVolumeSource, dir string) error {
	m, err := g.sources.ConfigMap(ctx, pod.Namespace, v.Name)
	if err != nil && !optionalMissing(err, v.Optional) {
		return err
	}
	data := map[string][]byte{}
	if err == nil {
		for k, text := range m.Data {
			data[k] = []byte(text)
		}
		for k, bytes := range m.BinaryData {
			data[k] = bytes
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return writeKeys(dir, data, v.Items, v.DefaultMode, v.Optional, fsGroup(pod))
}

// secret keeps its files in memory, so that they are never on a disk.
func (g *ground) secret(ctx context.Context, pod *corev1.Pod, v *corev1.SecretVolumeSource, dir string) error {
	s, err := g.sources.Secret(ctx, pod.Namespace, v.SecretName)
	if err != nil && !optionalMissing(err, v.Optional) {
		return err
	}
	data := map[string][]byte{}
	if err == nil {
		data = s.Data
	}
	if err := mountTmpfs(dir, "mode=755"); err != nil {
		return err
	}
	return writeKeys(dir, data, v.Items, v.DefaultMode, v.Optional, fsGroup(pod))
}

func optionalMissing(err error, optional *bool) bool {
	return apierrors.IsNotFound(err) && optional != nil && *optional
}

// writeKeys writes one file for each key, or for each item that is asked for.
func writeKeys(dir string, data map[string][]byte, items []corev1.KeyToPath, mode *int32, optional *bool, group *int64) error {
	if len(items) == 0 {
		for key := range data {
			items = append(items, corev1.KeyToPath{Key: key, Path: key})
		}
	}
	for _, item := range items {
		content, ok := data[item.Key]
		if !ok && optional != nil && *optional {
			continue
		}
		if !ok {
			return fmt.Errorf("there is no key %q", item.Key)
		}
		if !filepath.IsLocal(item.Path) || strings.Contains(item.Path, "..") {
			return fmt.Errorf("path %q leads outside the volume", item.Path)
		}
		bits := os.FileMode(0o644)
		if mode != nil {
			bits = os.FileMode(*mode) & 0o777
		}
		if item.Mode != nil {
			bits = os.FileMode(*item.Mode) & 0o777
		}
		if err := writeKey(filepath.Join(dir, item.Path), content, bits, group); err != nil {
			return err
		}
	}
	return nil
}

// writeKey writes a file whole, so that a container that already runs sees the old or the new one.
func writeKey(path string, content []byte, mode os.FileMode, group *int64) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	half := path + ".new"
	if err := os.WriteFile(half, content, 0o600); err != nil {
		return err
	}
	if group != nil {
		mode |= 0o040
		if err := os.Chown(half, -1, int(*group)); err != nil {
			return err
		}
	}
	if err := os.Chmod(half, mode); err != nil {
		return err
	}
	return os.Rename(half, path)
}
