package pods

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/agent/image"
	"github.com/holt-project/holt/agent/pods/oci"
)

// credentials finds those that the pod's pull secrets hold for an image; none if there are none. A secret that
// cannot be read or parsed is left out, as Kubernetes does: the pull may work without.
func credentials(source oci.Source, log *slog.Logger) func(context.Context, *corev1.Pod, string) image.Auth {
	return func(ctx context.Context, pod *corev1.Pod, ref string) image.Auth {
		for _, name := range pod.Spec.ImagePullSecrets {
			secret, err := source.Secret(ctx, pod.Namespace, name.Name)
			if err != nil {
				log.Warn("pull secret is not read", "secret", name.Name, "error", err)
				continue
			}
			if auth, ok := authFor(secret, ref); ok {
				return auth
			}
		}
		return image.Auth{}
	}
}

// authFor looks for the most exact entry: host/path/of/repository before host.
func authFor(secret *corev1.Secret, ref string) (image.Auth, bool) {
	var file struct {
		Auths map[string]image.Auth `json:"auths"`
	}
	data := secret.Data[corev1.DockerConfigJsonKey]
	if json.Unmarshal(data, &file) != nil {
		return image.Auth{}, false
	}
	full, err := image.Normalize(ref)
	if err != nil {
		return image.Auth{}, false
	}
	best, found := "", false
	var out image.Auth
	for server, auth := range file.Auths {
		server = strings.TrimPrefix(strings.TrimPrefix(server, "https://"), "http://")
		server = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(server, "/"), "/v1"), "/v2")
		if server == "index.docker.io" {
			server = "docker.io"
		}
		if strings.HasPrefix(full, server+"/") && len(server) > len(best) {
			best, out, found = server, auth, true
		}
	}
	return out, found
}
