package structure

import (
	"fmt"
	"slices"
	"strings"
)

// direction forbids imports: files below from do not import what is below to. In from and to, folders of this module
// start with "./"; other entries of to are import paths, of which everything below is meant as well.
type direction struct {
	from   []string
	except []string // folders below from that may
	to     []string
	tests  bool // also _test.go files
	exact  bool // only to itself is meant, not what is below
}

// agentSiblings lists which package of the agent may know which other, for the types that travel between them; the
// behaviour comes through an interface that the importing package declares. agent.go wires.
var agentSiblings = map[string][]string{
	"agent/pods":    {"agent/shim", "agent/image", "agent/volume"}, // what to run, what is in the image, where it is mounted
	"agent/streams": {"agent/shim"},                                // exec and attach end at the shim
}

var importRules = []rule{
	{
		name: "fsm is deterministic",
		why: "every server applies the same log and must reach the same state, byte for byte, today and on replay: " +
			"no network, no clock, no randomness, and none of the code that has them. Time, UIDs and names come from " +
			"the leader inside the command; take them as parameters.",
		check: forbid(direction{
			from: []string{"./fsm"},
			to: []string{
				"./server", "./agent", "./cli", "./internal/gossip", "./internal/pki", "./internal/client", "./internal/sandbox",
				"net", "crypto/tls", "golang.org/x/net", "github.com/hashicorp/memberlist",
				"time",
				"math/rand", "crypto/rand", "github.com/google/uuid",
				"k8s.io/apimachinery/pkg/util/rand", "k8s.io/apimachinery/pkg/util/uuid",
			},
		}),
		sample: map[string]string{
			"fsm/apply.go":        importing("time", "network", "encoding/json", "HOLT/server/kinds"),
			"fsm/index/uid.go":    importing("math/rand/v2"),
			"fsm/apply_test.go":   importing("time"),
			"server/kinds/pod.go": importing("time"),
		},
		want: []string{
			"fsm/apply.go:3: imports time",
			"fsm/apply.go:9: imports " + modulePath + "/server/kinds",
			"fsm/index/uid.go:3: imports math/rand/v2",
		},
	},
	{
		name: "agent is a client",
		why: "a worker knows the cluster through the public API alone, with a node's rights: what it could import from " +
			"the masters would be a second, unchecked way in. Put what both need under internal/.",
		check: forbid(direction{
			from:  []string{"./agent"},
			to:    []string{"./fsm", "./server", "./cli", "github.com/hashicorp/raft", "github.com/hashicorp/raft-boltdb"},
			tests: true,
		}),
		sample: map[string]string{
			"agent/agent.go":          importing("HOLT/agent/pods", "HOLT/internal/client"),
			"agent/pods/pods.go":      importing("HOLT/fsm"),
			"agent/pods/pods_test.go": importing("github.com/hashicorp/raft-boltdb/v2"),
		},
		want: []string{
			"agent/pods/pods.go:3: imports " + modulePath + "/fsm",
			"agent/pods/pods_test.go:3: imports github.com/hashicorp/raft-boltdb/v2",
		},
	},
	{
		name: "libcontainer is the shim's",
		why: "libcontainer brings cgo and re-executes its own program; only the shim is made for that, and only the shim " +
			"pays for its size. Ask the shim over its socket, and take cgroups from github.com/opencontainers/cgroups.",
		check: forbid(direction{
			from:   []string{"."},
			except: []string{"agent/shim"},
			to:     []string{"github.com/opencontainers/runc"},
			tests:  true,
		}),
		sample: map[string]string{
			"agent/shim/run.go":  importing("github.com/opencontainers/runc/libcontainer"),
			"agent/shims/run.go": importing("github.com/opencontainers/runc/libcontainer"),
			"agent/pods/a.go":    importing("github.com/opencontainers/cgroups"),
		},
		want: []string{"agent/shims/run.go:3: imports github.com/opencontainers/runc/libcontainer"},
	},
	{
		name: "no cgo of our own",
		why: "the holt binary is pure Go: one static file that builds and runs anywhere. The shim's C comes from " +
			"libcontainer alone. Use golang.org/x/sys/unix, or write it in Go.",
		check:  forbid(direction{from: []string{"."}, to: []string{"C"}, tests: true}),
		sample: map[string]string{"agent/shim/ns.go": importing("C"), "a.go": importing("CC")},
		want:   []string{"agent/shim/ns.go:3: imports C"},
	},
	{
		name: "no Kubernetes server code",
		why: "k8s.io/apiserver's size, start-up and storage contract are what Holt's design replaces, and k8s.io/kubernetes " +
			"is not made to be imported. Leaf packages of other k8s.io modules are welcome; the public conformance suite " +
			"lives in a Go module of its own under e2e/.",
		check: func(tr *tree) []string {
			out := forbid(direction{
				from: []string{"."}, to: []string{"k8s.io/kubernetes", "k8s.io/apiserver"}, tests: true,
			})(tr)
			for _, m := range parseMod(tr.read("go.mod")).all {
				if m == "k8s.io/kubernetes" || m == "k8s.io/apiserver" {
					out = append(out, "go.mod: requires "+m)
				}
			}
			return out
		},
		sample: map[string]string{
			"go.mod":                "module " + modulePath + "\n\nrequire (\n\tk8s.io/apiserver v0.37.2 // indirect\n\tk8s.io/api v0.37.2\n)\n",
			"server/api/api.go":     importing("k8s.io/apiserver/pkg/server"),
			"e2e/suite/go.mod":      "module x\n",
			"e2e/suite/conforms.go": importing("k8s.io/kubernetes/test/e2e"),
		},
		want: []string{"go.mod: requires k8s.io/apiserver", "server/api/api.go:3: imports k8s.io/apiserver/pkg/server"},
	},
	{
		name: "control logic does not know the wire",
		why: "controllers, the scheduler, liveness, admission and the kinds are functions of the state and are tested as " +
			"such; consensus carries commands that it cannot read. What they need of each other is a small interface that " +
			"they declare (at most four methods), and server.go wires it.",
		check: forbid(
			direction{
				from: []string{"./server/controllers", "./server/scheduler", "./server/liveness", "./server/kinds"},
				to:   []string{"./server/api", "./server/consensus", "./server/auth"},
			},
			direction{ // who asks is part of what admission decides on
				from: []string{"./server/admission"},
				to:   []string{"./server/api", "./server/consensus"},
			},
			direction{
				from: []string{"./server/consensus"},
				to:   []string{"./server/api", "./server/auth", "./server/admission", "./server/controllers", "./server/scheduler", "./server/kinds"},
			},
			direction{ // what a store promises holds on any wire and over any log
				from: []string{"./server/storage"},
				to:   []string{"./server/api", "./server/auth", "./server/admission", "./server/consensus", "net/http"},
			},
		),
		sample: map[string]string{
			"server/server.go":                        importing("HOLT/server/consensus", "HOLT/server/controllers/job"),
			"server/controllers/job/job.go":           importing("HOLT/server/kinds", "HOLT/server/api"),
			"server/scheduler/loop.go":                importing("HOLT/server/consensus"),
			"server/scheduler/loop_test.go":           importing("HOLT/server/consensus"),
			"server/consensus/transport/transport.go": importing("HOLT/server/kinds"),
			"server/storage/list.go":                  importing("HOLT/server/kinds", "net/http"),
		},
		want: []string{
			"server/consensus/transport/transport.go:3: imports " + modulePath + "/server/kinds",
			"server/controllers/job/job.go:5: imports " + modulePath + "/server/api",
			"server/scheduler/loop.go:3: imports " + modulePath + "/server/consensus",
			"server/storage/list.go:5: imports net/http",
		},
	},
	{
		name: "only wiring imports what wires",
		why: "server, agent and cli put concrete parts together, so whoever imports them depends on everything. Below them, " +
			"internal/ is shared and must not know its users. Import the part that is meant, or move what is shared to internal/.",
		check: forbid(
			direction{from: []string{"."}, except: []string{"cli", "e2e"}, to: []string{"./server", "./agent"}, exact: true},
			direction{from: []string{"./server", "./agent", "./fsm", "./internal", "./e2e"}, to: []string{"./cli"}},
			direction{from: []string{"./internal"}, to: []string{"./server", "./agent", "./fsm"}},
		),
		sample: map[string]string{
			"main.go":                     importing("HOLT/cli"),
			"cli/server.go":               importing("HOLT/server"),
			"server/api/verbs.go":         importing("HOLT/server", "HOLT/server/kinds"),
			"internal/sandbox/sandbox.go": importing("HOLT/cli", "HOLT/server/kinds"),
		},
		want: []string{
			"internal/sandbox/sandbox.go:3: imports " + modulePath + "/cli",
			"internal/sandbox/sandbox.go:5: imports " + modulePath + "/server/kinds",
			"server/api/verbs.go:3: imports " + modulePath + "/server",
		},
	},
	{
		name: "the agent's parts are strangers",
		why: "parts that know each other's insides cannot be replaced or tested alone. Declare the interface that you consume " +
			"and let agent.go wire it; where a type has to be shared, add the pair to agentSiblings with the reason.",
		check: strangers("agent", agentSiblings),
		sample: map[string]string{
			"agent/agent.go":             importing("HOLT/agent/dns", "HOLT/agent/pods"),
			"agent/pods/pods.go":         importing("HOLT/agent/shim", "HOLT/agent/pods/phase", "HOLT/agent/proxy"),
			"agent/dns/dns.go":           importing("HOLT/agent/proxy"),
			"agent/dns/dns_test.go":      importing("HOLT/agent/proxy"),
			"agent/proxy/proxy.go":       importing("HOLT/internal/client"),
			"agent/shim/binary/embed.go": importing("HOLT/agent/shim"),
		},
		want: []string{
			"agent/dns/dns.go:3: agent/dns imports agent/proxy",
			"agent/pods/pods.go:7: agent/pods imports agent/proxy",
		},
	},
	{
		name: "controllers are strangers",
		why: "each controller is a function of the state and talks to the others through it; one that calls another cannot be " +
			"tested or reasoned about alone. What several need belongs to the package server/controllers itself, and what is " +
			"known of pods to podutil.",
		check: strangers("server/controllers", controllerSiblings),
		sample: map[string]string{
			"server/controllers/job/job.go":         importing("HOLT/server/controllers"),
			"server/controllers/cronjob/cronjob.go": importing("HOLT/server/controllers/job"),
		},
		want: []string{"server/controllers/cronjob/cronjob.go:3: server/controllers/cronjob imports server/controllers/job"},
	},
}

// forbid makes the check of some directions; they hold for the root's module.
func forbid(directions ...direction) func(*tree) []string {
	return func(tr *tree) []string {
		var out []string
		for _, f := range tr.files {
			if f.module != "." {
				continue
			}
			for _, spec := range f.ast.Imports {
				p := importPath(spec)
				if slices.ContainsFunc(directions, func(d direction) bool { return d.forbids(f, p) }) {
					out = append(out, fmt.Sprintf("%s: imports %s", tr.at(spec.Pos()), p))
				}
			}
		}
		return out
	}
}

func (d direction) forbids(f *file, imported string) bool {
	if f.test() && !d.tests || belowAny(f.dir, d.except) {
		return false
	}
	from := slices.ContainsFunc(d.from, func(folder string) bool {
		return folder == "." || below(f.dir, strings.TrimPrefix(folder, "./"))
	})
	return from && slices.ContainsFunc(d.to, func(target string) bool {
		if folder, ok := strings.CutPrefix(target, "./"); ok {
			target = modulePath + "/" + folder
		}
		return imported == target || !d.exact && below(imported, target)
	})
}

// controllerSiblings lists which parts of server/controllers may import which.
var controllerSiblings = map[string][]string{
	"server/controllers/controllertest": {"server/controllers/writer"}, // the harness of all their tests
	"server/controllers/deployment":     {"server/controllers/podutil"},
	"server/controllers/endpointslice":  {"server/controllers/podutil"},
	"server/controllers/nodelifecycle":  {"server/controllers/podutil"},
	"server/controllers/replicaset":     {"server/controllers/podutil"},
}

// strangers makes the check that the folders right below parent import each other only as allowed says.
func strangers(parent string, allowed map[string][]string) func(*tree) []string {
	part := func(dir string) (string, bool) {
		rest, ok := strings.CutPrefix(dir, parent+"/")
		first, _, _ := strings.Cut(rest, "/")
		return parent + "/" + first, ok
	}
	return func(tr *tree) []string {
		var out []string
		for _, f := range tr.files {
			own, ok := part(f.dir)
			if !ok || f.test() || f.module != "." {
				continue
			}
			for _, spec := range f.ast.Imports {
				dir, isLocal := local(importPath(spec))
				other, isPart := part(dir)
				if isLocal && isPart && other != own && !slices.Contains(allowed[own], other) {
					out = append(out, fmt.Sprintf("%s: %s imports %s", tr.at(spec.Pos()), own, other))
				}
			}
		}
		return out
	}
}
