package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/holt-project/holt/e2e/harness"
)

// TestScripts runs the scripts that share a cluster.
func TestScripts(t *testing.T) {
	c := sharedCluster(t)
	runScripts(t, c, testscript.Params{Dir: "testdata/shared"})
}

// TestScriptsWithTheirOwnCluster runs the scripts that take hosts away.
func TestScriptsWithTheirOwnCluster(t *testing.T) {
	files, err := filepath.Glob("testdata/own/*.txtar")
	must(t, err)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			runScripts(t, ownCluster(t, usual), testscript.Params{Files: []string{file}})
		})
	}
}

func runScripts(t *testing.T, c *harness.Cluster, p testscript.Params) {
	t.Helper()
	programs := t.TempDir()
	must(t, os.Symlink(c.Programs().Kubectl, filepath.Join(programs, "kubectl")))
	must(t, os.Symlink(c.Programs().Holt, filepath.Join(programs, "holt")))
	s := scripted{c}
	p.Setup = func(env *testscript.Env) error { return s.setup(env, programs) }
	p.Cmds = map[string]func(*testscript.TestScript, bool, []string){
		"kubectl":    program("kubectl"),
		"holt":       program("holt"),
		"eventually": eventually,
		"capture":    capture,
		"toolbox":    toolbox,
		"ask":        ask,
		"host":       s.host,
		"on-disk":    s.onDisk,
		"same-state": s.sameState,
	}
	p.RequireUniqueNames = true
	// Scripts run side by side once the test that starts them has returned; so there is a test around them.
	t.Run("scripts", func(t *testing.T) { testscript.Run(t, p) })
}

// scripted gives scripts a cluster.
type scripted struct{ cluster *harness.Cluster }

// Output formats of kubectl that scripts compare with themselves at another time.
const (
	lives = `jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.status.containerStatuses[0].containerID} ` +
		`{.status.containerStatuses[0].state.running.startedAt} restarts={.status.containerStatuses[0].restartCount}{"\n"}{end}`
	identities = `jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid} ` +
		`{.metadata.generation}{"\n"}{end}`
	all = "namespaces,nodes,deployments,replicasets,pods,services,endpointslices,configmaps,secrets"
)

// setup gives a script its namespace and environment.
func (s scripted) setup(env *testscript.Env, programs string) error {
	namespace := "script-" + strconv.Itoa(int(counter.Add(1)))
	if err := s.cluster.NewNamespace(context.Background(), namespace); err != nil {
		return err
	}
	env.Defer(func() {
		// Side by side with other scripts; what is left, also when no server answers any more, goes with the cluster.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, _ = s.cluster.Kubectl(ctx, "delete", "namespace", namespace, "--wait=false")
	})
	kubeconfig := filepath.Join(env.WorkDir, "kubeconfig")
	server := s.cluster.Servers()[0]
	if err := s.cluster.WriteKubeconfig(kubeconfig, harness.URL(server), namespace); err != nil {
		return err
	}
	env.Setenv("PATH", programs+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Setenv("HOME", env.WorkDir) // kubectl caches discovery there
	env.Setenv("KUBECONFIG", kubeconfig)
	env.Setenv("NAMESPACE", namespace)
	env.Setenv("SANDBOX", s.cluster.Name())
	env.Setenv("EXAMPLES", s.cluster.Programs().Examples)
	env.Setenv("SERVER1", server.Address)
	env.Setenv("LIVES", lives)
	env.Setenv("IDENTITIES", identities)
	env.Setenv("ALL", all)
	for i, agent := range s.cluster.Agents() {
		env.Setenv("NODE"+strconv.Itoa(i+1), agent.Address)
	}
	return nil
}

// program makes a command of a program.
func program(name string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		verdict(ts, neg, ts.Exec(name, args...))
	}
}

func verdict(ts *testscript.TestScript, neg bool, err error) {
	if neg && err == nil {
		ts.Fatalf("it succeeded, and should not")
	}
	if !neg {
		ts.Check(err)
	}
}

// eventually REGEXP PROGRAM ARGS...
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually REGEXP PROGRAM [ARGS...]")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var out, errOut bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	err = harness.Await(ctx, args[0]+" is printed", func(ctx context.Context) error {
		out.Reset()
		errOut.Reset()
		cmd, err := scriptCommand(ctx, ts, args[1], args[2:])
		if err != nil {
			return err
		}
		cmd.Stdout, cmd.Stderr = &out, &errOut
		if err := cmd.Run(); err != nil {
			return err
		}
		if !pattern.Match(out.Bytes()) {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	_, _ = out.WriteTo(ts.Stdout())
	_, _ = errOut.WriteTo(ts.Stderr())
	ts.Check(err)
}

// capture VARIABLE PROGRAM ARGS...
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: capture VARIABLE PROGRAM [ARGS...]")
	}
	ts.Check(ts.Exec(args[1], args[2:]...))
	value := strings.TrimSpace(ts.ReadFile("stdout"))
	if value == "" {
		ts.Fatalf("it printed nothing")
	}
	ts.Setenv(args[0], value)
}

// scriptCommand is a program with the script's environment and folder.
func scriptCommand(ctx context.Context, ts *testscript.TestScript, name string, args []string) (*exec.Cmd, error) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err != nil {
			continue
		}
		cmd := exec.CommandContext(ctx, file, args...)
		cmd.Dir = ts.MkAbs(".")
		for _, key := range []string{"PATH", "HOME", "KUBECONFIG"} {
			cmd.Env = append(cmd.Env, key+"="+ts.Getenv(key))
		}
		return cmd, nil
	}
	return nil, fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

// toolbox NAME ARGS...
func toolbox(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: toolbox NAME ARGS...")
	}
	pod := "pod/" + args[0]
	run := append([]string{"run", args[0], "--image=holt.local/toolbox:1", "--restart=Never", "--"}, args[1:]...)
	ts.Check(ts.Exec("kubectl", run...))
	want := "Succeeded"
	if neg {
		want = "Failed"
	}
	if err := ts.Exec("kubectl", "wait", pod, "--for=jsonpath={.status.phase}="+want, "--timeout=60s"); err != nil {
		_ = ts.Exec("kubectl", "logs", pod)
		_ = ts.Exec("kubectl", "describe", pod)
		ts.Fatalf("pod %s has not %s: %v", args[0], strings.ToLower(want), err)
	}
	ts.Check(ts.Exec("kubectl", "logs", pod))
}

// ask URL N
func ask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ask URL N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	pods, err := harness.AwaitAnswers(ctx, args[0], n)
	for _, pod := range slices.Sorted(maps.Keys(pods)) {
		fmt.Fprintln(ts.Stdout(), pod, pods[pod])
	}
	ts.Check(err)
}

// host VERB NAME
func (s scripted) host(ts *testscript.TestScript, neg bool, args []string) {
	verbs := map[string]func(context.Context, string) error{
		"kill": s.cluster.Kill, "killprocess": s.cluster.KillProcess, "start": s.cluster.Start, "stop": s.cluster.Stop,
		"pause": s.cluster.Pause, "resume": s.cluster.Resume, "cut": s.cluster.Cut, "heal": s.cluster.Heal,
	}
	if neg || len(args) != 2 || verbs[args[0]] == nil {
		ts.Fatalf("usage: host %s HOST", strings.Join(slices.Sorted(maps.Keys(verbs)), "|"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	name := args[1]
	if name == "leader" {
		var err error
		name, err = s.cluster.Leader(ctx)
		ts.Check(err)
	}
	begun := time.Now()
	ts.Check(verbs[args[0]](ctx, name))
	ts.Setenv("HOST", name)
	ts.Logf("%s %s (%s)", args[0], name, time.Since(begun).Round(time.Millisecond))
}

// on-disk TEXT
func (s scripted) onDisk(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: on-disk TEXT")
	}
	var found []string
	for _, server := range s.cluster.Servers() {
		ts.Check(filepath.WalkDir(s.cluster.DataDir(server.Name), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
				return nil // a file may go while the server runs
			}
			data, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if bytes.Contains(data, []byte(args[0])) {
				found = append(found, path)
			}
			return err
		}))
	}
	if neg != (len(found) == 0) {
		ts.Fatalf("%q is in %d files: %v", args[0], len(found), found)
	}
}

// same-state
func (s scripted) sameState(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: same-state")
	}
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	status, err := s.cluster.AwaitSameState(ctx)
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), "revision", status.Revision, "digest", status.Digest)
}
