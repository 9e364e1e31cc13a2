package agent

import (
	"context"
	"net/url"

	"github.com/holt-project/holt/agent/image"
)

// imported is the image store together with the import folder: an image that is missing may have been put there
// since the start.
type imported struct {
	*image.Store
	folder string
}

// Pull looks into the import folder before it asks a registry.
func (i *imported) Pull(ctx context.Context, ref string, auth image.Auth) (image.Image, error) {
	if i.folder != "" {
		// An archive that cannot be read is not the image that is asked for; the registry's answer is the one to tell.
		_ = i.ImportFolder(ctx, i.folder)
		if img, ok := i.Lookup(ref); ok {
			return img, nil
		}
	}
	return i.Store.Pull(ctx, ref, auth)
}

func hostOf(base string) (string, bool) {
	u, err := url.Parse(base)
	if err != nil {
		return "", false
	}
	return u.Hostname(), u.Hostname() != ""
}
