package image_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/image"
)

// snapshot describes everything below dir, so that a test can tell that nothing of it changed.
func snapshot(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		line := fmt.Sprint(path, info.Mode(), info.Size(), info.ModTime())
		if info.Mode().IsRegular() {
			line += mustRead(t, path)
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestHostileLayersReachNothingOutside(t *testing.T) {
	victim := t.TempDir()
	writeFile(t, filepath.Join(victim, "secret"), []byte("secret"))
	writeFile(t, filepath.Join(victim, "d/e"), []byte("e"))
	if err := unix.Mknod(filepath.Join(victim, "null"), unix.S_IFCHR, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 20)
	device := entry{tar.Header{Typeflag: tar.TypeChar, Name: "etc/mem", Devmajor: 1, Devminor: 1}, ""}
	owner := file("x", "x")
	owner.Uid = -1
	for name, c := range map[string]struct {
		entries []entry
		want    error // nil: unpacked, but inside
	}{
		"traversal":                  {[]entry{file(up+victim+"/secret", "x")}, image.ErrUnsafe},
		"traversal within":           {[]entry{file("a/../../b", "x")}, image.ErrUnsafe},
		"absolute name":              {[]entry{file(victim+"/secret", "x")}, nil},
		"absolute link, through it":  {[]entry{symlink("l", victim), file("l/secret", "x"), file("l/new", "x")}, nil},
		"relative link, through it":  {[]entry{symlink("l", up+victim), file("l/secret", "x")}, nil},
		"chain of links":             {[]entry{symlink("a", "b"), symlink("b", victim), file("a/secret", "x")}, nil},
		"write over a link":          {[]entry{symlink("l", victim+"/secret"), file("l", "x")}, nil},
		"folder over a link":         {[]entry{symlink("l", victim), entry{tar.Header{Typeflag: tar.TypeDir, Name: "l", Mode: 0o777}, ""}, file("l/secret", "x")}, nil},
		"hard link out":              {[]entry{hardlink("h", up+victim+"/secret"), file("h", "x")}, image.ErrUnsafe},
		"hard link through a link":   {[]entry{symlink("l", victim), hardlink("h", "l/secret")}, os.ErrNotExist},
		"hard link to a link, write": {[]entry{symlink("l", victim+"/secret"), hardlink("h", "l"), file("h", "x")}, nil},
		"whiteout through a link":    {[]entry{symlink("l", victim), file("l/.wh.secret", "")}, nil},
		"whiteout over a link":       {[]entry{symlink("l", victim), file(".wh.l", ""), file("l/secret", "x")}, nil},
		"opaque through a link":      {[]entry{symlink("l", victim), file("l/.wh..wh..opq", "")}, nil},
		"whiteout of the parent":     {[]entry{file("a/.wh...", "")}, errAny},
		"whiteout, parent swapped":   {[]entry{folder("p"), file("p/.wh.secret", ""), symlink("p", victim), file("p/secret/x", "x")}, nil},
		"device as a whiteout":       {[]entry{folder("p"), file("p/.wh.null", ""), symlink("p", victim), file("p/null/x", "x")}, nil},
		"whiteout, parent swapped 2": {[]entry{folder("p"), file("p/.wh.d", ""), symlink("p", victim), folder("p/d"), file("p/d/e", "x")}, nil},
		"device":                     {[]entry{device}, image.ErrUnsafe},
		"0:0 device":                 {[]entry{{tar.Header{Typeflag: tar.TypeChar, Name: "etc"}, ""}}, image.ErrUnsafe},
		"owner -1":                   {[]entry{owner}, image.ErrUnsafe},
		"twice":                      {[]entry{file("x", "1"), folder("x"), symlink("x", victim), file("x", "2")}, nil},
		"folder into link, children": {[]entry{folder("x"), file("x/y", "1"), symlink("x", victim), file("x/secret", "2")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			before := snapshot(t, victim)
			root := t.TempDir()
			s := openStore(t, root, image.Options{})
			f := fixture{name: "holt.local/x:1", layers: [][]byte{tarOf(t, c.entries...)}}
			_, err := importOne(t, s, f.oci(t))
			switch {
			case c.want == nil && err != nil, c.want == errAny && err == nil, c.want != errAny && !errors.Is(err, c.want):
				t.Errorf("error %v, want %v", err, c.want)
			}
			if diff := cmp.Diff(before, snapshot(t, victim)); diff != "" {
				t.Errorf("outside changed:\n%s", diff)
			}
			if err != nil {
				if left := append(entriesOf(t, filepath.Join(root, "layers")), entriesOf(t, filepath.Join(root, "tmp"))...); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			}
		})
	}
}

var errAny = errors.New("any error")

func TestDeviceNodesBelowDevAreLeftOut(t *testing.T) {
	s := openStore(t, t.TempDir(), image.Options{})
	null := entry{tar.Header{Typeflag: tar.TypeChar, Name: "dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3}, ""}
	img := mustImport(t, s, fixture{name: "holt.local/x:1", layers: [][]byte{tarOf(t, folder("dev"), null)}}.oci(t))
	if got := entriesOf(t, filepath.Join(mount(t, s, img), "dev")); len(got) > 0 {
		t.Errorf("dev holds %v", got)
	}
}

func TestBombsAreBounded(t *testing.T) {
	bounds := image.Options{MaxUnpacked: 1 << 20, MaxEntries: 100}
	zeros := tarOf(t, file("zeros", strings.Repeat("\x00", 2<<20)))
	var many []entry
	for i := range 101 {
		many = append(many, file(fmt.Sprint(i), ""))
	}
	half := strings.Repeat("x", 600<<10)
	sparse := sparseTar(t, 8<<20)
	for name, archive := range map[string][]byte{
		"gzip layer":  fixture{name: "x:1", layers: [][]byte{zeros}, pack: gzipped}.oci(t),
		"zstd layer":  fixture{name: "x:1", layers: [][]byte{zeros}, pack: zstded}.oci(t),
		"padding":     fixture{name: "x:1", layers: [][]byte{append(tarOf(t), make([]byte, 2<<20)...)}, pack: gzipped}.oci(t),
		"sparse":      fixture{name: "x:1", layers: [][]byte{sparse}}.oci(t),
		"two layers":  fixture{name: "x:1", layers: [][]byte{tarOf(t, file("a", half)), tarOf(t, file("b", half))}, pack: gzipped}.oci(t),
		"entries":     fixture{name: "x:1", layers: [][]byte{tarOf(t, many...)}}.oci(t),
		"deep":        fixture{name: "x:1", layers: [][]byte{tarOf(t, file(strings.Repeat("a/", 101)+"x", ""))}}.oci(t),
		"the archive": gzipped(t, make([]byte, 2<<20)),
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			s := openStore(t, root, bounds)
			if _, err := importOne(t, s, archive); !errors.Is(err, image.ErrTooLarge) {
				t.Errorf("error %v, want ErrTooLarge", err)
			}
			if left := entriesOf(t, filepath.Join(root, "tmp")); len(left) > 0 {
				t.Errorf("tmp holds %v", left)
			}
		})
	}
}

// sparseTar holds one file of that size with no data at all, in the PAX 1.0 sparse form.
func sparseTar(t *testing.T, size int) []byte {
	t.Helper()
	sparseMap := "1\n" + fmt.Sprint(size) + "\n0\n"
	body := sparseMap + strings.Repeat("\x00", 512-len(sparseMap))
	var records string
	for _, kv := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=big", fmt.Sprint("GNU.sparse.realsize=", size)} {
		n := len(kv) + 3
		for len(fmt.Sprint(n))+len(kv)+2 != n {
			n++
		}
		records += fmt.Sprintf("%d %s\n", n, kv)
	}
	// The writer refuses sparse records, so the extended header is written as a file and its type set after.
	raw := tarOf(t, file("pax", records), file("big", body))
	raw[156] = 'x'
	sum := 0
	copy(raw[148:156], "        ")
	for _, b := range raw[:512] {
		sum += int(b)
	}
	copy(raw[148:156], fmt.Sprintf("%06o\x00 ", sum))
	hdr := tar.NewReader(bytes.NewReader(raw))
	if h, err := hdr.Next(); err != nil || h.Size != int64(size) {
		t.Fatalf("the test's sparse file is not one: %v %v", h, err)
	}
	return raw
}

func TestOnlySafeAttributesSurvive(t *testing.T) {
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	e := file("x", "x")
	e.PAXRecords = map[string]string{
		"SCHILY.xattr.security.capability":       capability,
		"SCHILY.xattr.user.note":                 "kept",
		"SCHILY.xattr.trusted.overlay.redirect":  "/etc",
		"SCHILY.xattr.user.overlay.opaque":       "y",
		"SCHILY.xattr.security.selinux":          "unconfined",
		"SCHILY.xattr.system.posix_acl_access":   "bad",
		"SCHILY.xattr.trusted.overlay.metacopy":  "",
		"SCHILY.xattr.security.evm":              "x",
		"SCHILY.xattr.trusted.something.else.as": "x",
	}
	root := t.TempDir()
	s := openStore(t, root, image.Options{})
	img := mustImport(t, s, fixture{name: "x:1", layers: [][]byte{tarOf(t, e)}}.oci(t))
	on := filepath.Join(root, "layers", strings.TrimPrefix(img.Layers[0], "sha256:"), "fs", "x")
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(on, buf)
	if err != nil {
		t.Fatal(err)
	}
	for _, attr := range strings.Split(strings.Trim(string(buf[:n]), "\x00"), "\x00") {
		if attr != "security.capability" && attr != "user.note" {
			t.Errorf("the attribute %s survived", attr)
		}
	}
	n, err = unix.Lgetxattr(on, "security.capability", buf)
	if err != nil || string(buf[:n]) != capability {
		t.Errorf("security.capability is %q, %v", buf[:max(n, 0)], err)
	}
}
