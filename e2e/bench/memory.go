package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/e2e/bench/figures"
	"github.com/holt-project/holt/e2e/harness"
	"github.com/holt-project/holt/internal/sandbox"
)

// idle is how long the cluster is left alone before its memory is read.
const idle = 10 * time.Second

// size is that of the binary.
func (b *bench) size(context.Context) ([]row, error) {
	info, err := os.Stat(b.programs.Holt)
	if err != nil {
		return nil, err
	}
	return []row{{"size of bin/holt", []string{megabytes(info.Size())}}}, nil
}

// memory reads what processes weigh while nothing happens: resident, and proportional, where what several processes
// share (the binary's own pages) counts for each with its part.
func (b *bench) memory(ctx context.Context) ([]row, error) {
	if err := b.running(ctx); err != nil {
		return nil, err
	}
	// Two pods for shims to weigh.
	for i := range 2 {
		pod := whoami(fmt.Sprintf("idle-%d", i))
		if err := b.cluster.API.Create(ctx, harness.PodsKind, pod); err != nil {
			return nil, err
		}
		defer func() {
			_ = b.cluster.API.Delete(ctx, harness.PodsKind, namespace, pod.Name, metav1.DeleteOptions{}) // goes with the cluster
		}()
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := b.cluster.AwaitPods(waiting, namespace, "", 2, nil); err != nil {
		return nil, err
	}
	select {
	case <-time.After(idle):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	hosts, err := b.cluster.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	var servers, agents []int
	for _, h := range hosts {
		if h.Role == sandbox.RoleServer {
			servers = append(servers, h.PID)
		} else {
			agents = append(agents, h.PID)
		}
	}
	shims, err := shimsOf(b.cluster.Name())
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, group := range []struct {
		what string
		pids []int
	}{{"an idle server", servers}, {"an idle agent", agents}, {"a pod's shim", shims}} {
		more, err := weigh(group.what, group.pids)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// shimsOf finds the shims on a sandbox's hosts.
func shimsOf(name string) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, file := range files {
		dir := filepath.Dir(file)
		groups, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(groups, []byte("/holt/"+name+"/")) {
			continue // it ended, or is somebody else's
		}
		command, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue
		}
		program, _, _ := bytes.Cut(command, []byte{0})
		if !strings.Contains(filepath.Base(string(program)), "shim") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// weigh makes rows of the median and the worst of some processes.
func weigh(what string, pids []int) ([]row, error) {
	if len(pids) == 0 {
		return nil, fmt.Errorf("there is no process of %s", what)
	}
	var resident, proportional []int64
	for _, pid := range pids {
		rss, pss, err := figures.Memory(pid)
		if err != nil {
			return nil, err
		}
		resident, proportional = append(resident, rss), append(proportional, pss)
	}
	line := func(kind string, values []int64) row {
		slices.Sort(values)
		return row{kind + " memory of " + what, []string{
			megabytes(values[len(values)/2]), megabytes(values[len(values)-1]), fmt.Sprint(len(values)),
		}}
	}
	return []row{line("resident", resident), line("proportional", proportional)}, nil
}
