package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// openPath returns the handler of a path that anyone may ask for, or nil.
func (s *Server) openPath(path string) http.HandlerFunc {
	switch path {
	case "/version", "/version/":
		return s.version
	case "/healthz", "/livez":
		return func(w http.ResponseWriter, r *http.Request) { s.health(w, r, nil) }
	case "/readyz":
		return func(w http.ResponseWriter, r *http.Request) { s.health(w, r, map[string]bool{"leader": s.hasLeader()}) }
	}
	return nil
}

func (s *Server) hasLeader() bool {
	name, _, self := s.cfg.Consensus.Leader()
	return self || name != ""
}

func (s *Server) version(w http.ResponseWriter, r *http.Request) {
	if !reads(w, r, s) {
		return
	}
	data, err := json.MarshalIndent(s.cfg.Version, "", "  ")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", typeJSON)
	write(w, r, http.StatusOK, [][]byte{data})
}

// health answers "ok", or 500 and the checks that failed.
func (s *Server) health(w http.ResponseWriter, r *http.Request, checks map[string]bool) {
	if !reads(w, r, s) {
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
func reads(w http.ResponseWriter, r *http.Request, s *Server) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	s.fail(w, r, statusError(http.StatusMethodNotAllowed, "MethodNotAllowed", "only GET is allowed on %s", r.URL.Path))
	return false
}
