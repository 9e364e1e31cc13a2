package work

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// payload is the size of a ConfigMap's data, in bytes.
const payload = 1 << 10

// text is what a ConfigMap holds.
var text = strings.Repeat("level=info\nlisten=0.0.0.0:8080\n", payload/30+1)[:payload]

// quoted is text as JSON.
var quoted = quote(text)

func quote(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		return `""` // a string can always be encoded
	}
	return string(data)
}

// Objects are those of one resource in a namespace, numbered: number 7 of the prefix "work-" is work-00000007.
type Objects struct {
	// Path is the collection's, such as /api/v1/namespaces/default/pods.
	Path   string
	Prefix string
}

// InNamespace names the objects of a core resource.
func InNamespace(namespace, resource, prefix string) Objects {
	return Objects{"/api/v1/namespaces/" + namespace + "/" + resource, prefix}
}

func (o Objects) name(n int64) string { return fmt.Sprintf("%s%08d", o.Prefix, n) }

func (o Objects) path(n int64) string { return o.Path + "/" + o.name(n) }

// Get reads an object.
func (o Objects) Get(n int64) Request { return Request{Method: http.MethodGet, Path: o.path(n)} }

// Delete deletes an object.
func (o Objects) Delete(n int64) Request { return Request{Method: http.MethodDelete, Path: o.path(n)} }

// List lists all objects, as a media type.
func (o Objects) List(accept string) Request {
	return Request{Method: http.MethodGet, Path: o.Path, Accept: accept}
}

// CreateConfigMap makes one of 1 KiB.
func (o Objects) CreateConfigMap(n int64) Request {
	return Request{Method: http.MethodPost, Path: o.Path, Type: JSON, Body: o.configMap(n, 0)}
}

// UpdateConfigMap replaces one by another generation of it: servers skip updates that change nothing.
func (o Objects) UpdateConfigMap(n, generation int64) Request {
	return Request{Method: http.MethodPut, Path: o.path(n), Type: JSON, Body: o.configMap(n, generation)}
}

// PatchConfigMap makes another generation of one by a merge patch.
func (o Objects) PatchConfigMap(n, generation int64) Request {
	body := fmt.Appendf(nil, `{"data":{"generation":"%d"}}`, generation)
	return Request{Method: http.MethodPatch, Path: o.path(n), Type: MergePatch, Body: body}
}

func (o Objects) configMap(n, generation int64) []byte {
	body := make([]byte, 0, 2*payload)
	return fmt.Appendf(body, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%s"},"data":{"generation":"%d","config":%s}}`,
		o.name(n), generation, quoted)
}

// CreateNamespace makes a namespace.
func CreateNamespace(name string) Request {
	body := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"%s"}}`, name)
	return Request{Method: http.MethodPost, Path: "/api/v1/namespaces", Type: JSON, Body: body}
}

// CreatePod makes a pod such as a Deployment's, of about 2 KB of JSON when it is stored. It names a scheduler that does
// not run, so that it stays as it is.
func (o Objects) CreatePod(n int64) Request {
	return Request{Method: http.MethodPost, Path: o.Path, Type: JSON, Body: fmt.Appendf(nil, podText, o.name(n))}
}

const podText = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s",` +
	`"labels":{"app.kubernetes.io/name":"shop","app.kubernetes.io/component":"web","pod-template-hash":"6c8f7d9b5"},` +
	`"annotations":{"prometheus.io/scrape":"true","prometheus.io/port":"8080"}},` +
	`"spec":{"schedulerName":"nobody","serviceAccountName":"default","automountServiceAccountToken":false,"containers":[{"name":"web",` +
	`"image":"registry.example.com/shop/web:1.14.2","args":["--listen=:8080","--config=/etc/shop/config.yaml"],` +
	`"ports":[{"name":"http","containerPort":8080}],` +
	`"env":[{"name":"POD_NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},{"name":"LOG_LEVEL","value":"info"}],` +
	`"resources":{"requests":{"cpu":"100m","memory":"128Mi"},"limits":{"memory":"256Mi"}},` +
	`"readinessProbe":{"httpGet":{"path":"/ready","port":"http"},"periodSeconds":5},` +
	`"volumeMounts":[{"name":"config","mountPath":"/etc/shop"}]}],` +
	`"volumes":[{"name":"config","configMap":{"name":"shop-config"}}]}}`
