package image

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// The library spells Docker Hub as the host that serves it; users, Kubernetes and archives say docker.io.
const (
	hubServed = "index.docker.io"
	hubName   = "docker.io"
)

var bareID = regexp.MustCompile(`^(sha256:)?([0-9a-f]{64})$`)

// parseRef reads a reference as docker and Kubernetes do: a missing registry is docker.io, a missing tag is
// latest, and of a tag with a digest the digest counts.
func parseRef(ref string, opts ...name.Option) (name.Reference, error) {
	parsed, err := name.ParseReference(ref, append(opts, name.WeakValidation)...)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %v", ErrInvalidName, ref, err)
	}
	return parsed, nil
}

// Normalize gives the full form of a reference: "whoami" is docker.io/library/whoami:latest. The error is
// ErrInvalidName.
func Normalize(ref string) (string, error) {
	parsed, err := parseRef(ref)
	if err != nil {
		return "", err
	}
	return fullName(parsed), nil
}

func fullName(ref name.Reference) string {
	if digest, ok := ref.(name.Digest); ok {
		return withDigest(ref, digest.DigestStr())
	}
	return repoName(ref) + ":" + ref.Identifier()
}

func repoName(ref name.Reference) string {
	full := ref.Context().Name()
	if rest, ok := strings.CutPrefix(full, hubServed+"/"); ok {
		return hubName + "/" + rest
	}
	return full
}

func withDigest(ref name.Reference, digest string) string {
	return repoName(ref) + "@" + digest
}

// asID reports whether ref is an image ID, with or without its algorithm, and gives the full form.
func asID(ref string) (string, bool) {
	m := bareID.FindStringSubmatch(ref)
	if m == nil {
		return "", false
	}
	return "sha256:" + m[2], true
}
