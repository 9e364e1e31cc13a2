package image_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/holt-project/holt/agent/image"
)

// testRegistry is a registry on the loopback that can be made to misbehave.
type testRegistry struct {
	host string

	mu   sync.Mutex
	gets map[string]int // by path
	// hook may answer a request itself, and then returns true.
	hook func(w http.ResponseWriter, r *http.Request) bool
}

func startRegistry(t *testing.T) *testRegistry {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	r := &testRegistry{gets: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		hook := r.hook
		if req.Method == http.MethodGet {
			r.gets[req.URL.Path]++
		}
		r.mu.Unlock()
		if hook == nil || !hook(w, req) {
			inner.ServeHTTP(w, req)
		}
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	r.host = strings.TrimPrefix(server.URL, "http://")
	return r
}

func (r *testRegistry) setHook(hook func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hook, r.gets = hook, map[string]int{}
}

// got counts the requests whose path holds part, and the most for one path.
func (r *testRegistry) got(part string) (total, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for path, n := range r.gets {
		if strings.Contains(path, part) {
			total += n
			most = max(most, n)
		}
	}
	return total, most
}

// pushed uploads an image of these layers and returns it.
func (r *testRegistry) pushed(t *testing.T, ref string, layers ...[]byte) v1.Image {
	t.Helper()
	img := build(t, runtime.GOARCH, layers...)
	if err := remote.Write(r.parse(t, ref), img, remote.WithTransport(ownTransport(t))); err != nil {
		t.Fatal(err)
	}
	return img
}

func (r *testRegistry) parse(t *testing.T, ref string) name.Reference {
	t.Helper()
	parsed, err := name.ParseReference(r.host + "/" + ref)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func ownTransport(t *testing.T) http.RoundTripper {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func build(t *testing.T, arch string, layers ...[]byte) v1.Image {
	t.Helper()
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: arch, Config: v1.Config{Cmd: []string{"/x"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(l)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

var quick = image.Options{RetryDelay: time.Millisecond}

func TestPullByTagAndDigest(t *testing.T) {
	r := startRegistry(t)
	pushed := r.pushed(t, "x/y:1", tarOf(t, file("a", "a")), tarOf(t, file("b", "b")))
	s := openStore(t, t.TempDir(), quick)
	img, err := s.Pull(t.Context(), r.host+"/x/y:1", image.Auth{})
	if err != nil {
		t.Fatal(err)
	}
	id, _ := pushed.ConfigName()
	digest, _ := pushed.Digest()
	want := image.Image{ID: id.String(), Digest: digest.String(), Size: 2,
		Names: []string{r.host + "/x/y:1", r.host + "/x/y@" + digest.String()}}
	got := img
	want.Config.Cmd, want.Layers = []string{"/x"}, got.Layers
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("image (-want +got):\n%s", diff)
	}
	rootfs := mount(t, s, img)
	if got := mustRead(t, filepath.Join(rootfs, "a")) + mustRead(t, filepath.Join(rootfs, "b")); got != "ab" {
		t.Errorf("files hold %q", got)
	}
	r.setHook(nil)
	if _, err := s.Pull(t.Context(), r.host+"/x/y:whatever@"+digest.String(), image.Auth{}); err != nil {
		t.Errorf("by digest: %v", err)
	}
	if n, _ := r.got("/blobs/"); n != 1 { // the configuration
		t.Errorf("%d blobs were fetched again, want the configuration alone", n)
	}
}

func TestPullChoosesThePlatform(t *testing.T) {
	r := startRegistry(t)
	mine := build(t, runtime.GOARCH, tarOf(t, file("a", "mine")))
	other := build(t, "s390x", tarOf(t, file("a", "other")))
	add := func(img v1.Image, arch string) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}}
	}
	write := func(ref string, adds ...mutate.IndexAddendum) {
		t.Helper()
		if err := remote.WriteIndex(r.parse(t, ref), mutate.AppendManifests(empty.Index, adds...), remote.WithTransport(ownTransport(t))); err != nil {
			t.Fatal(err)
		}
	}
	write("multi:1", add(other, "s390x"), add(mine, runtime.GOARCH))
	write("multi:2", add(other, "s390x"))
	s := openStore(t, t.TempDir(), quick)
	img, err := s.Pull(t.Context(), r.host+"/multi:1", image.Auth{})
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := mine.ConfigName(); img.ID != want.String() || len(img.Names) != 3 {
		t.Errorf("image %s with the names %v, want %s with tag, index and manifest", img.ID, img.Names, want)
	}
	if _, err := s.Pull(t.Context(), r.host+"/multi:2", image.Auth{}); !errors.Is(err, image.ErrPlatform) {
		t.Errorf("without this platform: %v", err)
	}
}

func TestPullsOfOneImageFetchOnce(t *testing.T) {
	r := startRegistry(t)
	r.pushed(t, "x:1", tarOf(t, file("a", "a")), tarOf(t, file("b", "b")))
	s := openStore(t, t.TempDir(), quick)
	const pulls = 10
	hold := make(chan struct{})
	r.setHook(func(w http.ResponseWriter, req *http.Request) bool {
		if strings.Contains(req.URL.Path, "/manifests/") {
			<-hold // until all have asked
		}
		return false
	})
	results := make(chan error, pulls)
	var started sync.WaitGroup
	for range pulls {
		started.Add(1)
		go func() {
			ctx := &announcing{Context: t.Context(), announce: sync.OnceFunc(started.Done)}
			_, err := s.Pull(ctx, r.host+"/x:1", image.Auth{})
			results <- err
		}()
	}
	started.Wait()
	close(hold)
	for range pulls {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n, most := r.got("/blobs/"); n != 3 || most != 1 {
		t.Errorf("%d blob requests, at most %d for one blob; want 3 and 1", n, most)
	}
	if n, _ := r.got("/manifests/"); n != 1 {
		t.Errorf("%d manifest requests, want 1", n)
	}
}

// announcing tells when somebody begins to wait for the context.
type announcing struct {
	context.Context
	announce func()
}

func (a *announcing) Done() <-chan struct{} {
	a.announce()
	return a.Context.Done()
}

func TestPullErrorsAreTyped(t *testing.T) {
	r := startRegistry(t)
	r.pushed(t, "x:1", tarOf(t, file("a", "a")))
	s := openStore(t, t.TempDir(), quick)
	status := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(code)
			return true
		}
	}
	for name, c := range map[string]struct {
		ref  string
		hook func(http.ResponseWriter, *http.Request) bool
		want error
	}{
		"no such tag":   {r.host + "/x:2", nil, image.ErrNotFound},
		"no such repo":  {r.host + "/y:1", nil, image.ErrNotFound},
		"bad name":      {"UPPER/x", nil, image.ErrInvalidName},
		"empty name":    {"", nil, image.ErrInvalidName},
		"bad digest":    {r.host + "/x@sha256:1234", nil, image.ErrInvalidName},
		"unauthorized":  {r.host + "/x:1", status(http.StatusUnauthorized), image.ErrUnauthorized},
		"forbidden":     {r.host + "/x:1", status(http.StatusForbidden), image.ErrUnauthorized},
		"server broken": {r.host + "/x:1", status(http.StatusInternalServerError), errAny},
	} {
		t.Run(name, func(t *testing.T) {
			r.setHook(c.hook)
			_, err := s.Pull(t.Context(), c.ref, image.Auth{})
			if err == nil || c.want != errAny && !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func TestPullBringsCredentials(t *testing.T) {
	r := startRegistry(t)
	r.pushed(t, "x:1", tarOf(t, file("a", "a")))
	r.setHook(func(w http.ResponseWriter, req *http.Request) bool {
		if user, pass, _ := req.BasicAuth(); user == "me" && pass == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	s := openStore(t, t.TempDir(), quick)
	for auth, want := range map[image.Auth]error{
		{}:                                      image.ErrUnauthorized,
		{Username: "me", Password: "wrong"}:     image.ErrUnauthorized,
		{Username: "me", Password: "secret"}:    nil,
		{Username: "other", Password: "secret"}: image.ErrUnauthorized, // also now that the image is here
	} {
		if _, err := s.Pull(t.Context(), r.host+"/x:1", auth); !errors.Is(err, want) {
			t.Errorf("%v: error %v, want %v", auth, err, want)
		}
	}
}

func TestPullTriesAgainAndGivesUp(t *testing.T) {
	r := startRegistry(t)
	pushed := r.pushed(t, "x:1", tarOf(t, file("a", strings.Repeat("a", 100_000))))
	layers, err := pushed.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := layers[0].Digest()
	var mu sync.Mutex
	broken := 0
	spoil := func(times int) func(http.ResponseWriter, *http.Request) bool {
		broken = times
		return func(w http.ResponseWriter, req *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			if !strings.HasSuffix(req.URL.Path, digest.String()) || broken == 0 {
				return false
			}
			broken--
			_, _ = w.Write([]byte("these bytes have another digest"))
			return true
		}
	}
	r.setHook(spoil(-1))
	root := t.TempDir()
	s := openStore(t, root, quick)
	if _, err := s.Pull(t.Context(), r.host+"/x:1", image.Auth{}); err == nil {
		t.Error("a wrong digest was taken")
	}
	if n, _ := r.got(digest.String()); n != 3 {
		t.Errorf("%d attempts, want 3", n)
	}
	for _, sub := range []string{"images", "layers", "tmp"} {
		if left := entriesOf(t, filepath.Join(root, sub)); len(left) > 0 {
			t.Errorf("%s holds %v", sub, left)
		}
	}
	r.setHook(spoil(2))
	if _, err := s.Pull(t.Context(), r.host+"/x:1", image.Auth{}); err != nil {
		t.Errorf("the third attempt is good, but: %v", err)
	}
}

func TestARemovalSparesLayersThatAPullCountsOn(t *testing.T) {
	r := startRegistry(t)
	base := tarOf(t, file("base", "base"))
	r.pushed(t, "a:1", base)
	top, err := r.pushed(t, "b:1", base, tarOf(t, file("middle", "x")), tarOf(t, file("top", "x"))).Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := top[2].Digest()
	s := openStore(t, t.TempDir(), quick)
	if _, err := s.Pull(t.Context(), r.host+"/a:1", image.Auth{}); err != nil {
		t.Fatal(err)
	}
	entered, hold := make(chan struct{}), make(chan struct{})
	r.setHook(func(_ http.ResponseWriter, req *http.Request) bool {
		if strings.HasSuffix(req.URL.Path, digest.String()) {
			entered <- struct{}{}
			<-hold
		}
		return false
	})
	type result struct {
		img image.Image
		err error
	}
	pulled := make(chan result, 1)
	go func() {
		img, err := s.Pull(t.Context(), r.host+"/b:1", image.Auth{})
		pulled <- result{img, err}
	}()
	<-entered
	if err := s.Remove(t.Context(), r.host+"/a:1"); err != nil {
		t.Error(err)
	}
	close(hold)
	got := <-pulled
	if got.err != nil {
		t.Fatal(got.err)
	}
	if content := mustRead(t, filepath.Join(mount(t, s, got.img), "base")); content != "base" {
		t.Errorf("base holds %q", content)
	}
}

// hanging answers requests for blobs with a first byte and then nothing, and tells of each.
func hanging(entered chan<- struct{}) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.Contains(req.URL.Path, "/blobs/") {
			return false
		}
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		select {
		case entered <- struct{}{}:
		default:
		}
		<-req.Context().Done()
		return true
	}
}

func TestPullEndsWithItsContextAndWithTheStore(t *testing.T) {
	r := startRegistry(t)
	r.pushed(t, "x:1", tarOf(t, file("a", "a")))
	s := openStore(t, t.TempDir(), quick)
	entered := make(chan struct{})
	r.setHook(hanging(entered))
	pull := func(ctx context.Context) <-chan error {
		result := make(chan error, 1)
		go func() {
			_, err := s.Pull(ctx, r.host+"/x:1", image.Auth{})
			result <- err
		}()
		return result
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := pull(ctx)
	<-entered
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("after the cancel: %v", err)
	}
	result = pull(t.Context())
	<-entered
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, image.ErrClosed) {
		t.Errorf("after the close: %v", err)
	}
	if _, err := s.Pull(t.Context(), r.host+"/x:1", image.Auth{}); !errors.Is(err, image.ErrClosed) {
		t.Errorf("a pull from a closed store: %v", err)
	}
}

func TestAStalledTransferEnds(t *testing.T) {
	r := startRegistry(t)
	r.pushed(t, "x:1", tarOf(t, file("a", "a")))
	r.setHook(hanging(nil))
	s := openStore(t, t.TempDir(), image.Options{RetryDelay: time.Millisecond, StallTimeout: 20 * time.Millisecond})
	if _, err := s.Pull(t.Context(), r.host+"/x:1", image.Auth{}); err == nil || !strings.Contains(err.Error(), "nothing arrived") {
		t.Errorf("error %v", err)
	}
}

func TestRedirectsToPlainHTTPAreRefused(t *testing.T) {
	elsewhere := startRegistry(t)
	elsewhere.setHook(nil)
	r := startRegistry(t)
	r.pushed(t, "x:1", tarOf(t, file("a", "a")))
	r.setHook(func(w http.ResponseWriter, req *http.Request) bool {
		if strings.Contains(req.URL.Path, "/blobs/") {
			http.Redirect(w, req, "http://"+elsewhere.host+req.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	s := openStore(t, t.TempDir(), quick)
	if _, err := s.Pull(t.Context(), r.host+"/x:1", image.Auth{}); err == nil {
		t.Error("no error")
	}
	if n, _ := elsewhere.got("/"); n != 0 {
		t.Errorf("a redirect sent %d requests to another local service", n)
	}
}

func TestHostileManifestsAreRefused(t *testing.T) {
	r := startRegistry(t)
	r.pushed(t, "x:1", tarOf(t, file("a", "a")))
	s := openStore(t, t.TempDir(), quick)
	const oci = "application/vnd.oci.image.manifest.v1+json"
	d := `{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:` + strings.Repeat("0", 64) + `","size":`
	for name, c := range map[string]struct {
		mediaType, body string
		want            error
	}{
		"both kinds":    {oci, `{"config":` + d + `2},"layers":[],"manifests":[` + d + `2}]}`, image.ErrCorrupt},
		"other type":    {oci, `{"mediaType":"application/vnd.oci.image.index.v1+json"}`, image.ErrCorrupt},
		"schema 1":      {"application/vnd.docker.distribution.manifest.v1+json", `{"schemaVersion":1}`, image.ErrCorrupt},
		"not an image":  {oci, `{"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json"}}`, image.ErrCorrupt},
		"bad digest":    {oci, `{"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:../../x"}}`, image.ErrCorrupt},
		"negative size": {oci, `{"config":` + d + `-1}}`, image.ErrCorrupt},
		"large config":  {oci, `{"config":` + d + `9999999999}}`, image.ErrTooLarge},
		"not JSON":      {oci, `<html>`, image.ErrCorrupt},
		"endless":       {oci, strings.Repeat(" ", 5<<20), image.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			r.setHook(func(w http.ResponseWriter, req *http.Request) bool {
				if !strings.Contains(req.URL.Path, "/manifests/") {
					return false
				}
				w.Header().Set("Content-Type", c.mediaType)
				_, _ = io.WriteString(w, c.body)
				return true
			})
			if _, err := s.Pull(t.Context(), r.host+"/x:1", image.Auth{}); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}
