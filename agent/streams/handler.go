package streams

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// nodePath stands for what errors are about.
var nodePath = schema.GroupResource{Resource: "nodes/proxy"}

// Source finds the logs of the node's containers.
type Source interface {
	// ContainerLog gives the place of a container's log below the log folder, and a channel that is closed when
	// the container has ended and its log is whole. Errors are the API's.
	ContainerLog(namespace, pod, container string, previous bool) (path string, done <-chan struct{}, err error)
}

// Config of a handler. Both are required.
type Config struct {
	LogDir string
	// Allow tells whether a request comes from a server of the cluster.
	Allow func(*http.Request) bool
}

// Handler serves what servers ask of a node.
func Handler(cfg Config, source Source, log *slog.Logger) http.Handler {
	private := http.NewServeMux()
	private.Handle("GET /logs/{namespace}/{pod}/{container}", &logHandler{cfg: cfg, source: source, log: log})
	private.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, apierrors.NewGenericServerResponse(http.StatusNotFound, r.Method, nodePath, r.URL.Path, "", 0, false), log)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/healthz" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			if _, err := w.Write([]byte("ok")); err != nil {
				log.Debug("answer to a health check", "error", err)
			}
		case !cfg.Allow(r):
			writeError(w, apierrors.NewForbidden(nodePath, r.URL.Path,
				errors.New("only the cluster's servers may ask a node; ask the API instead")), log)
		default:
			private.ServeHTTP(w, r)
		}
	})
}

// writeError answers with a Status object.
func writeError(w http.ResponseWriter, err error, log *slog.Logger) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		status = apierrors.NewInternalError(err)
	}
	body := status.Status()
	body.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(body.Code))
	if err := json.NewEncoder(w).Encode(body); err != nil {
		log.Debug("answer with an error", "error", err)
	}
}
