package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxMetadata bounds manifests, indexes and configurations; it is what registries accept.
	maxMetadata = 4 << 20
	// maxLayers is the kernel's bound on the lower folders of an overlay (OVL_MAX_STACK).
	maxLayers = 500

	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
)

// layerSource is where a layer comes from.
type layerSource struct {
	diffID digest.Digest
	// open gives the layer, compressed or not; the reader verifies the digest of what it reads, if one is known.
	open func(context.Context) (io.ReadCloser, error)
}

// plan is an image that is ready to be installed.
type plan struct {
	id     string
	digest string
	names  []string
	config ociv1.ImageConfig
	chain  []string
	layers []layerSource // open is filled in by whoever makes the plan
}

// newPlan reads a configuration whose digest is verified.
func newPlan(config []byte) (*plan, error) {
	var c ociv1.Image
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("%w: configuration: %w", ErrCorrupt, err)
	}
	if (c.OS != "" && c.OS != "linux") || (c.Architecture != "" && c.Architecture != runtime.GOARCH) {
		return nil, fmt.Errorf("%w: it is for %s/%s, this node is linux/%s", ErrPlatform, c.OS, c.Architecture, runtime.GOARCH)
	}
	if len(c.RootFS.DiffIDs) > maxLayers {
		return nil, fmt.Errorf("%w: %d layers, overlayfs takes %d", ErrTooLarge, len(c.RootFS.DiffIDs), maxLayers)
	}
	p := &plan{id: digest.FromBytes(config).String(), config: c.Config}
	for _, d := range c.RootFS.DiffIDs {
		if err := checkDigest(d); err != nil {
			return nil, err
		}
		p.layers = append(p.layers, layerSource{diffID: d})
	}
	for _, id := range identity.ChainIDs(slices.Clone(c.RootFS.DiffIDs)) {
		p.chain = append(p.chain, id.String())
	}
	return p, nil
}

// checkDigest admits SHA-256 only: digests become names of files, and a second algorithm would give one layer
// two of them.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("%w: digest %q: %w", ErrCorrupt, d, err)
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("%w: digest %q is not a sha256 one", ErrCorrupt, d)
	}
	return nil
}

// install unpacks what is missing of a plan, lowest layer first, and writes the image's record.
func (s *Store) install(ctx context.Context, p *plan) (Image, error) {
	defer s.catalog.pin(p.chain)()
	b := newBudget(s.opts)
	var size int64
	for i := range p.layers {
		info, err := s.layers.ensure(ctx, p.chain, i, p.layers[i], b)
		if err != nil {
			return Image{}, fmt.Errorf("layer %d of %d: %w", i+1, len(p.layers), err)
		}
		size += info.Size
	}
	return s.catalog.keep(record{ID: p.id, Digest: p.digest, Names: p.names, Size: size, Config: p.config, Layers: p.chain})
}

// manifest is an image manifest or an index, of OCI or docker: their forms agree.
type manifest struct {
	MediaType string             `json:"mediaType"`
	Config    ociv1.Descriptor   `json:"config"`
	Layers    []ociv1.Descriptor `json:"layers"`
	Manifests []ociv1.Descriptor `json:"manifests"`
}

// parseManifest reads a document whose type the outside (a descriptor, a response header) gives. A document that
// could be read as either kind is refused: which image it names must not depend on the reader (CVE-2021-41190).
func parseManifest(data []byte, mediaType string) (m manifest, isIndex bool, err error) {
	if err := json.Unmarshal(data, &m); err != nil {
		return m, false, fmt.Errorf("%w: manifest: %w", ErrCorrupt, err)
	}
	switch mediaType {
	case ociv1.MediaTypeImageIndex, dockerIndex:
		isIndex = true
	case ociv1.MediaTypeImageManifest, dockerManifest:
	default:
		return m, false, fmt.Errorf("%w: manifest of unsupported type %q", ErrCorrupt, mediaType)
	}
	if m.MediaType != "" && m.MediaType != mediaType {
		return m, false, fmt.Errorf("%w: manifest says %q, its descriptor %q", ErrCorrupt, m.MediaType, mediaType)
	}
	if isIndex && (len(m.Layers) > 0 || m.Config.Digest != "") || !isIndex && len(m.Manifests) > 0 {
		return m, false, fmt.Errorf("%w: manifest and index in one document", ErrCorrupt)
	}
	if !isIndex {
		err = checkManifest(m)
	}
	return m, isIndex, err
}

func checkManifest(m manifest) error {
	if t := m.Config.MediaType; t != ociv1.MediaTypeImageConfig && t != dockerConfig {
		return fmt.Errorf("%w: not a container image: its configuration is of type %q", ErrCorrupt, t)
	}
	for _, d := range append([]ociv1.Descriptor{m.Config}, m.Layers...) {
		if err := checkDigest(d.Digest); err != nil {
			return err
		}
		if d.Size < 0 {
			return fmt.Errorf("%w: blob %s has the size %d", ErrCorrupt, d.Digest, d.Size)
		}
	}
	for _, d := range m.Layers {
		if !strings.Contains(d.MediaType, "tar") || strings.Contains(d.MediaType, "encrypted") {
			return fmt.Errorf("%w: layer %s has the unsupported type %q", ErrCorrupt, d.Digest, d.MediaType)
		}
	}
	return nil
}

// choose picks the manifest for this node. Entries without a platform count only if there is nothing better:
// their configuration will tell.
func choose(entries []ociv1.Descriptor) (ociv1.Descriptor, error) {
	best, found := ociv1.Descriptor{}, -1
	for _, d := range entries {
		if rank := suits(d); rank > found {
			best, found = d, rank
		}
	}
	if found < 0 {
		return best, fmt.Errorf("%w: it has no variant for linux/%s", ErrPlatform, runtime.GOARCH)
	}
	return best, checkDigest(best.Digest)
}

// suits ranks an index entry for this node: negative means that it does not run here.
func suits(d ociv1.Descriptor) int {
	switch {
	case d.Annotations["vnd.docker.reference.type"] != "":
		return -1 // an attestation about an image
	case d.Platform == nil:
		return 0
	case d.Platform.OS != "linux" || d.Platform.Architecture != runtime.GOARCH:
		return -1
	case d.Platform.Variant == "" || d.Platform.Architecture == "arm64" && d.Platform.Variant == "v8":
		return 2
	}
	return 1 // a variant that asks for more of the processor than is certain
}
