package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// containerdName is how containerd and docker write an image's full name into a layout's index.
	containerdName     = "io.containerd.image.name"
	dockerManifestFile = "manifest.json"
)

// planLayout reads the images of an OCI layout that run here.
func planLayout(t *tarFile) ([]*plan, error) {
	data, err := t.read(ociv1.ImageIndexFile)
	if err != nil {
		return nil, err
	}
	var index manifest
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, ociv1.ImageIndexFile, err)
	}
	var plans []*plan
	for _, d := range index.Manifests {
		if suits(d) < 0 {
			continue
		}
		p, err := planDescriptor(t, d)
		if err != nil {
			return nil, err
		}
		plans = append(plans, p)
	}
	if len(plans) == 0 {
		_, err := choose(index.Manifests)
		return nil, err
	}
	return plans, nil
}

// planDescriptor follows an entry of index.json: a manifest, or an index of one image's platforms.
func planDescriptor(t *tarFile, d ociv1.Descriptor) (*plan, error) {
	top := d
	data, err := t.readBlob(d)
	if err != nil {
		return nil, err
	}
	m, isIndex, err := parseManifest(data, d.MediaType)
	if err != nil {
		return nil, err
	}
	if isIndex {
		if d, err = choose(m.Manifests); err != nil {
			return nil, err
		}
		if data, err = t.readBlob(d); err != nil {
			return nil, err
		}
		if m, isIndex, err = parseManifest(data, d.MediaType); err != nil {
			return nil, err
		}
		if isIndex {
			return nil, fmt.Errorf("%w: an index within an index", ErrCorrupt)
		}
	}
	config, err := t.readBlob(m.Config)
	if err != nil {
		return nil, err
	}
	p, err := newPlan(config)
	if err != nil {
		return nil, err
	}
	p.digest = d.Digest.String()
	if p.names, err = layoutNames(top, d); err != nil {
		return nil, err
	}
	if err := p.checkLayers(len(m.Layers)); err != nil {
		return nil, err
	}
	for i, l := range m.Layers {
		p.layers[i].open = func(context.Context) (io.ReadCloser, error) {
			r, err := t.open(blobPath(l.Digest))
			if err != nil {
				return nil, err
			}
			return verified(io.NopCloser(r), l.Digest, l.Size), nil
		}
	}
	return p, nil
}

// checkLayers fails unless the manifest has a layer for each of the configuration's.
func (p *plan) checkLayers(n int) error {
	if n != len(p.layers) {
		return fmt.Errorf("%w: %d layers in the manifest, %d in the configuration", ErrCorrupt, n, len(p.layers))
	}
	return nil
}

// layoutNames gives the names of an entry of index.json, with its digests where a repository is known.
func layoutNames(top, chosen ociv1.Descriptor) ([]string, error) {
	full := top.Annotations[containerdName]
	if full == "" {
		// By its definition this is a tag, but podman and others write full names.
		if n := top.Annotations[ociv1.AnnotationRefName]; strings.ContainsAny(n, "/:") {
			full = n
		}
	}
	if full == "" {
		return nil, nil
	}
	ref, err := parseRef(full)
	if err != nil {
		return nil, err
	}
	return namesOf(ref, top.Digest.String(), chosen.Digest.String()), nil
}

func namesOf(ref name.Reference, digests ...string) []string {
	names := []string{fullName(ref)}
	for _, d := range digests {
		names = append(names, withDigest(ref, d))
	}
	return names
}

// planDocker reads the images of a docker-save archive. Its layers are known by their diff IDs alone.
func planDocker(t *tarFile) ([]*plan, error) {
	data, err := t.read(dockerManifestFile)
	if err != nil {
		return nil, err
	}
	var images []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(data, &images); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, dockerManifestFile, err)
	}
	var plans []*plan
	for _, img := range images {
		config, err := t.read(img.Config)
		if err != nil {
			return nil, err
		}
		p, err := newPlan(config)
		if err != nil {
			return nil, err
		}
		if err := p.checkLayers(len(img.Layers)); err != nil {
			return nil, err
		}
		for i, file := range img.Layers {
			p.layers[i].open = func(context.Context) (io.ReadCloser, error) {
				r, err := t.open(file)
				if err != nil {
					return nil, err
				}
				return io.NopCloser(r), nil
			}
		}
		for _, tag := range img.RepoTags {
			full, err := Normalize(tag)
			if err != nil {
				return nil, err
			}
			p.names = append(p.names, full)
		}
		plans = append(plans, p)
	}
	return plans, nil
}
