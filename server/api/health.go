package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/version"
)

// openPaths serves what anyone may ask for without authentication: the version, and whether the server is healthy.
type openPaths struct {
	leadership Leadership
	release    version.Info
	out        *responder
}

// handler returns the handler of path, or nil if it is not an open one.
func (p *openPaths) handler(path string) http.HandlerFunc {
	switch path {
	case "/version", "/version/":
		return p.version
	case "/healthz", "/livez":
		return func(w http.ResponseWriter, r *http.Request) { p.health(w, r, nil) }
	case "/readyz":
		return func(w http.ResponseWriter, r *http.Request) { p.health(w, r, map[string]bool{"leader": p.hasLeader()}) }
	}
	return nil
}

func (p *openPaths) hasLeader() bool {
	name, _, self := p.leadership.Leader()
	return self || name != ""
}

func (p *openPaths) version(w http.ResponseWriter, r *http.Request) {
	if !p.reads(w, r) {
		return
	}
	data, err := json.MarshalIndent(p.release, "", "  ")
	if err != nil {
		p.out.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", typeJSON)
	write(w, r, http.StatusOK, [][]byte{data})
}

// health answers "ok", or 500 and the checks that failed.
func (p *openPaths) health(w http.ResponseWriter, r *http.Request, checks map[string]bool) {
	if !p.reads(w, r) {
		return
	}
	ok, report := true, &strings.Builder{}
	fmt.Fprintln(report, "[+]ping ok")
	for name, passed := range checks {
		if passed {
			fmt.Fprintf(report, "[+]%s ok\n", name)
		} else {
			ok = false
			fmt.Fprintf(report, "[-]%s failed\n", name)
		}
	}
	check := strings.TrimPrefix(r.URL.Path, "/")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch {
	case !ok:
		fmt.Fprintf(report, "%s check failed\n", check)
		write(w, r, http.StatusInternalServerError, [][]byte{[]byte(report.String())})
	case r.URL.Query().Has("verbose"):
		fmt.Fprintf(report, "%s check passed\n", check)
		write(w, r, http.StatusOK, [][]byte{[]byte(report.String())})
	default:
		write(w, r, http.StatusOK, [][]byte{[]byte("ok")})
	}
}

// reads refuses methods that would change something.
func (p *openPaths) reads(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	p.out.fail(w, r, statusError(http.StatusMethodNotAllowed, "MethodNotAllowed", "only GET is allowed on %s", r.URL.Path))
	return false
}
