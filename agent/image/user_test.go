package image_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/image"
)

const passwd = `root:x:0:0:root:/root:/bin/sh
# a comment
app:x:1000:1001:App:/:/bin/sh
1234:x:0:0:a number for a name:/:/bin/sh
big:x:4294967296:0::/:
bigger:x:1:99999999999999999999::/:
short:x
`

const group = `root:x:0:
app:x:1001:
wheel:x:10:root,app
users:x:100:app
`

func TestResolveUser(t *testing.T) {
	s := openStore(t, t.TempDir(), image.Options{})
	rootfs := t.TempDir()
	writeFile(t, filepath.Join(rootfs, "etc/passwd"), []byte(passwd))
	writeFile(t, filepath.Join(rootfs, "etc/group"), []byte(group))
	type ids struct {
		UID, GID uint32
		Groups   []uint32
	}
	for user, want := range map[string]*ids{ // nil: an error
		"":                     {0, 0, []uint32{10}},
		"root":                 {0, 0, []uint32{10}},
		"app":                  {1000, 1001, []uint32{10, 100}},
		"1000":                 {1000, 1001, []uint32{10, 100}},
		"app:wheel":            {1000, 10, nil},
		"app:5":                {1000, 5, nil},
		"1000:5":               {1000, 5, nil},
		"77":                   {77, 0, nil},
		"77:88":                {77, 88, nil},
		"77:users":             {77, 100, nil},
		"1234":                 {1234, 0, nil},
		"2147483647":           {2147483647, 0, nil},
		"2147483648":           nil,
		"4294967296":           nil,
		"4294967295":           nil,
		"99999999999999999999": nil,
		"-1":                   nil,
		"1:-1":                 nil,
		"1:4294967296":         nil,
		"nobody":               nil,
		"app:nogroup":          nil,
		"big":                  nil,
		"bigger":               nil,
		"short":                nil,
	} {
		uid, gid, groups, err := s.ResolveUser(rootfs, user)
		if want == nil {
			if err == nil {
				t.Errorf("%q gives %d:%d, want an error", user, uid, gid)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", user, err)
			continue
		}
		if diff := cmp.Diff(*want, ids{uid, gid, groups}); diff != "" {
			t.Errorf("%q (-want +got):\n%s", user, diff)
		}
	}
}

func TestResolveUserStaysInside(t *testing.T) {
	s := openStore(t, t.TempDir(), image.Options{})
	outside := writeFile(t, filepath.Join(t.TempDir(), "passwd"), []byte("victim:x:42:42::/:\n"))
	for name, prepare := range map[string]func(etc string) error{
		"absolute link": func(etc string) error { return os.Symlink(outside, filepath.Join(etc, "passwd")) },
		"relative link": func(etc string) error {
			return os.Symlink("../../../../../../../../.."+outside, filepath.Join(etc, "passwd"))
		},
		"etc is a link":   func(etc string) error { return replaceByLink(etc, filepath.Dir(outside)) },
		"etc is a file":   func(etc string) error { return replaceByFile(etc) },
		"a pipe":          func(etc string) error { return unix.Mkfifo(filepath.Join(etc, "passwd"), 0o600) },
		"a folder":        func(etc string) error { return os.Mkdir(filepath.Join(etc, "passwd"), 0o700) },
		"link to oneself": func(etc string) error { return os.Symlink("passwd", filepath.Join(etc, "passwd")) },
	} {
		t.Run(name, func(t *testing.T) {
			rootfs := t.TempDir()
			etc := filepath.Join(rootfs, "etc")
			if err := os.Mkdir(etc, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := prepare(etc); err != nil {
				t.Fatal(err)
			}
			if uid, _, _, err := s.ResolveUser(rootfs, "victim"); err == nil {
				t.Errorf("found user %d", uid)
			}
		})
	}
	// Absolute links are common in images, and mean the image's root.
	rootfs := t.TempDir()
	writeFile(t, filepath.Join(rootfs, "store/passwd"), []byte("app:x:7:8::/:\n"))
	if err := os.Mkdir(filepath.Join(rootfs, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/store/passwd", filepath.Join(rootfs, "etc/passwd")); err != nil {
		t.Fatal(err)
	}
	if uid, gid, _, err := s.ResolveUser(rootfs, "app"); err != nil || uid != 7 || gid != 8 {
		t.Errorf("%d:%d, %v; want 7:8", uid, gid, err)
	}
	if uid, gid, _, err := s.ResolveUser(t.TempDir(), "5:6"); err != nil || uid != 5 || gid != 6 {
		t.Errorf("without files: %d:%d, %v; want 5:6", uid, gid, err)
	}
}

func replaceByLink(path, to string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.Symlink(to, path)
}

func replaceByFile(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.WriteFile(path, nil, 0o600)
}
