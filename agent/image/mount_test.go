package image_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/image"
)

func whiteout(name string) entry { return file(name, "") }

func TestUpperLayersHideLowerOnes(t *testing.T) {
	base := tarOf(t, folder("d"), file("d/a", "low"), file("d/b", "low"), folder("e"), file("e/a", "low"), file("f", "low"), file("g/a", "low"), symlink("l", "d"))
	for name, c := range map[string]struct {
		upper []entry
		want  map[string]string // content; "" means that the file is gone
	}{
		"a file":                       {[]entry{whiteout("d/.wh.a")}, map[string]string{"d/a": "", "d/b": "low"}},
		"a folder":                     {[]entry{whiteout(".wh.d")}, map[string]string{"d": "", "e/a": "low"}},
		"a link":                       {[]entry{whiteout(".wh.l")}, map[string]string{"l": "", "d/a": "low"}},
		"an opaque folder":             {[]entry{folder("d"), whiteout("d/.wh..wh..opq"), file("d/c", "up")}, map[string]string{"d/a": "", "d/b": "", "d/c": "up"}},
		"opaque, marker last":          {[]entry{folder("d"), file("d/c", "up"), whiteout("d/.wh..wh..opq")}, map[string]string{"d/a": "", "d/c": "up"}},
		"a folder replaced":            {[]entry{whiteout(".wh.d"), folder("d"), file("d/c", "up")}, map[string]string{"d/a": "", "d/c": "up"}},
		"replaced, marker last":        {[]entry{folder("d"), file("d/c", "up"), whiteout(".wh.d")}, map[string]string{"d/a": "", "d/c": "up"}},
		"replaced, folder not listed":  {[]entry{whiteout(".wh.d"), file("d/c", "up")}, map[string]string{"d/a": "", "d/c": "up"}},
		"a file replaced":              {[]entry{whiteout(".wh.f"), file("f", "up")}, map[string]string{"f": "up"}},
		"a file replaced, marker last": {[]entry{file("f", "up"), whiteout(".wh.f")}, map[string]string{"f": "up"}},
		"marker twice":                 {[]entry{whiteout(".wh.f"), whiteout(".wh.f")}, map[string]string{"f": ""}},
		"folder by file":               {[]entry{file("d", "up")}, map[string]string{"d": "up"}},
		"of nothing":                   {[]entry{whiteout("z/.wh.z")}, map[string]string{"z/z": "", "d/a": "low"}},
		"aufs leftovers":               {[]entry{folder(".wh..wh.plnk"), file(".wh..wh.aufs", "")}, map[string]string{".wh..wh.plnk": "", ".wh..wh.aufs": "", ".wh.aufs": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, t.TempDir(), image.Options{})
			rootfs := mount(t, s, mustImport(t, s, fixture{name: "x:1", layers: [][]byte{base, tarOf(t, c.upper...)}}.oci(t)))
			for file, want := range c.want {
				data, err := os.ReadFile(filepath.Join(rootfs, file))
				if want == "" && !errors.Is(err, fs.ErrNotExist) || want != "" && string(data) != want {
					t.Errorf("%s holds %q, %v; want %q", file, data, err, want)
				}
			}
		})
	}
}

func TestAFolderThatIsOnlyPassedKeepsItsMode(t *testing.T) {
	s := openStore(t, t.TempDir(), image.Options{})
	tmp := entry{tar.Header{Typeflag: tar.TypeDir, Name: "tmp", Mode: 0o1777, Uid: 5, Gid: 6}, ""}
	img := mustImport(t, s, fixture{name: "x:1", layers: [][]byte{tarOf(t, tmp), tarOf(t, file("tmp/x", "x"))}}.oci(t))
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(mount(t, s, img), "tmp"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Mode&0o7777 != 0o1777 || st.Uid != 5 || st.Gid != 6 {
		t.Errorf("mode %o, owner %d:%d", st.Mode, st.Uid, st.Gid)
	}
}

func TestManyLayersMount(t *testing.T) {
	s := openStore(t, t.TempDir(), image.Options{})
	f := fixture{name: "x:1"}
	const layers = 200
	for i := range layers {
		f.layers = append(f.layers, tarOf(t, file(fmt.Sprint("f", i), fmt.Sprint(i)), file("top", fmt.Sprint(i))))
	}
	rootfs := mount(t, s, mustImport(t, s, f.oci(t)))
	if got := mustRead(t, filepath.Join(rootfs, "top")); got != fmt.Sprint(layers-1) {
		t.Errorf("the uppermost file is that of layer %s", got)
	}
	if got := len(entriesOf(t, rootfs)); got != layers+1 {
		t.Errorf("%d files, want %d", got, layers+1)
	}
}

func TestAnImageWithoutLayersMounts(t *testing.T) {
	s := openStore(t, t.TempDir(), image.Options{})
	rootfs := mount(t, s, mustImport(t, s, fixture{name: "x:1"}.oci(t)))
	writeFile(t, filepath.Join(rootfs, "x"), []byte("x"))
	if diff := cmp.Diff([]string{"x"}, entriesOf(t, rootfs)); diff != "" {
		t.Error(diff)
	}
}

func TestMountAndUnmountCanBeRepeated(t *testing.T) {
	s := openStore(t, t.TempDir(), image.Options{})
	img := mustImport(t, s, small(t, "x:1", "one").oci(t))
	other := mustImport(t, s, small(t, "y:1", "two").oci(t))
	// The name has all that mount options would need quoted.
	dir := filepath.Join(t.TempDir(), `a,b:c\d e`)
	t.Cleanup(func() { _ = s.Unmount(dir) })
	mountIt := func(img image.Image) (string, error) { return s.Mount(t.Context(), img, dir) }
	rootfs, err := mountIt(img)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(rootfs, "mine"), []byte("mine"))
	if _, err := mountIt(img); err != nil {
		t.Errorf("a second mount: %v", err)
	}
	if _, err := mountIt(other); err == nil {
		t.Error("another image was mounted over the first")
	}
	// As after a restart of the machine: the mount is gone, the files are not.
	if err := unix.Unmount(rootfs, 0); err != nil {
		t.Fatalf("mounted more than once? %v", err)
	}
	if _, err := mountIt(img); err != nil {
		t.Fatal(err)
	}
	if got := mustRead(t, filepath.Join(rootfs, "mine")) + mustRead(t, filepath.Join(rootfs, "etc/motd")); got != "mineone" {
		t.Errorf("files hold %q", got)
	}
	for range 2 {
		if err := s.Unmount(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	if _, err := mountIt(other); err != nil {
		t.Errorf("another image after the unmount: %v", err)
	}
}

func TestUnmountSparesWhatIsMountedInside(t *testing.T) {
	s := openStore(t, t.TempDir(), image.Options{})
	img := mustImport(t, s, small(t, "x:1", "one").oci(t))
	volume := t.TempDir()
	writeFile(t, filepath.Join(volume, "data"), []byte("data"))
	dir := filepath.Join(t.TempDir(), "c")
	rootfs, err := s.Mount(t.Context(), img, dir)
	if err != nil {
		t.Fatal(err)
	}
	point := filepath.Join(rootfs, "etc")
	if err := unix.Mount(volume, point, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Unmount(dir); err != nil {
		t.Fatal(err)
	}
	if got := mustRead(t, filepath.Join(volume, "data")); got != "data" {
		t.Errorf("the volume holds %q", got)
	}
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil || len(infos) > 0 {
		t.Errorf("still mounted: %v %v", infos, err)
	}
}

func TestMountsDoNotShareWrites(t *testing.T) {
	s := openStore(t, t.TempDir(), image.Options{})
	img := mustImport(t, s, small(t, "x:1", "one").oci(t))
	a, b := mount(t, s, img), mount(t, s, img)
	writeFile(t, filepath.Join(a, "etc/motd"), []byte("changed"))
	if got := mustRead(t, filepath.Join(b, "etc/motd")); got != "one" {
		t.Errorf("the other container sees %q", got)
	}
}
