package api_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/server/api"
)

// agent is a node's agent as the API sees it.
type agent struct {
	url       string
	transport http.RoundTripper
	asked     []string
}

func (a *agent) Agent(node *corev1.Node) (*url.URL, http.RoundTripper, error) {
	a.asked = append(a.asked, node.Name)
	u, err := url.Parse(a.url)
	return u, a.transport, err
}

func TestPodLog(t *testing.T) {
	more := make(chan struct{})
	node := newHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("previous") != "":
			http.Error(w, "no such log", http.StatusNotFound)
		case r.URL.Query().Get("follow") != "":
			_, _ = io.WriteString(w, "one\n")
			w.(http.Flusher).Flush()
			<-more
			_, _ = io.WriteString(w, "two\n")
		default:
			_, _ = io.WriteString(w, r.URL.String())
		}
	}))
	a := &agent{url: serve(t, node), transport: http.DefaultTransport}
	c := newCluster(t, func(cfg *api.Config) { cfg.Agents = a })
	c.must("POST", "/api/v1/nodes", `{"metadata":{"name":"n1"}}`, 201)
	c.must("POST", pods, podBody("p", `"nodeName":"n1",`), 201)
	c.must("POST", pods, podBody("free", ""), 201)
	c.must("POST", pods, podBody("lost", `"nodeName":"n2",`), 201)
	c.must("POST", pods, `{"metadata":{"name":"two"},"spec":{"nodeName":"n1","containers":[{"name":"a","image":"i"},{"name":"b","image":"i"}]}}`, 201)
	state := func(s string) {
		c.patch("merge-patch+json", pods+"/p/status", `{"status":{"containerStatuses":[{"name":"c","ready":true,"restartCount":0,"image":"i","imageID":"","state":`+s+`}]}}`, 200)
	}
	refused := func(path string, code int, message string) {
		t.Helper()
		if s := c.must("GET", path, "", code).status(t); !strings.Contains(s.Message, message) {
			t.Errorf("%s: %q", path, s.Message)
		}
	}
	refused(pods+"/none/log", 404, `pods "none" not found`)
	refused(pods+"/free/log", 400, "pod free does not have a host assigned")
	refused(pods+"/two/log", 400, "a container name must be specified for pod two, choose one of: [a b]")
	refused(pods+"/two/log?container=x", 400, "container x is not valid for pod two")
	refused(pods+"/lost/log", 404, `nodes "n2" not found`)
	refused(pods+"/p/log", 400, `container "c" in pod "p" is waiting to start: ContainerCreating`)
	state(`{"waiting":{"reason":"ImagePullBackOff"}}`)
	refused(pods+"/p/log", 400, `container "c" in pod "p" is waiting to start: trying and failing to pull image`)
	state(`{"running":{}}`)
	refused(pods+"/p/log?previous=true", 400, `previous terminated container "c" in pod "p" not found`)
	c.must("POST", pods+"/p/log", "", 405)

	uid := c.pod(c.must("GET", pods+"/p", "", 200)).UID
	got := string(c.must("GET", pods+"/p/log?container=c&tailLines=5&timestamps=true&evil=1", "", 200).body)
	if want := "/logs/default/p/c?tailLines=5&timestamps=true&uid=" + string(uid); got != want {
		t.Errorf("the agent was asked for %q, want %q", got, want)
	}

	res, err := http.DefaultClient.Do(c.request("GET", pods+"/p/log?follow=true", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for _, want := range []string{"one\n", "two\n"} { // each line comes as it is written
		if line, err := lines.ReadString('\n'); line != want {
			t.Fatalf("got %q, want %q (%v)", line, want, err)
		}
		if want == "one\n" {
			close(more)
		}
	}
	a.url = "http://127.0.0.1:1"
	refused(pods+"/p/log", 503, "node n1 cannot be reached")
}

func TestPodLogDoesNotFollowRedirects(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed a redirect") }))
	defer elsewhere.Close()
	a := &agent{url: serve(t, newHTTP(http.RedirectHandler(elsewhere.URL, http.StatusFound))), transport: http.DefaultTransport}
	c := newCluster(t, func(cfg *api.Config) { cfg.Agents = a })
	c.must("POST", "/api/v1/nodes", `{"metadata":{"name":"n1"}}`, 201)
	c.must("POST", pods, podBody("p", `"nodeName":"n1",`), 201)
	c.patch("merge-patch+json", pods+"/p/status", `{"status":{"containerStatuses":[{"name":"c","state":{"running":{}}}]}}`, 200)
	c.must("GET", pods+"/p/log", "", 500)
}
