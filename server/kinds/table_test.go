package kinds_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestColumns(t *testing.T) {
	for resource, want := range map[string][]string{
		"pods":                                 {"Ready", "Status", "Restarts", "Age", "IP+", "Node+", "Nominated Node+", "Readiness Gates+"},
		"deployments.apps":                     {"Ready", "Up-to-date", "Available", "Age", "Containers+", "Images+", "Selector+"},
		"replicasets.apps":                     {"Desired", "Current", "Ready", "Age", "Containers+", "Images+", "Selector+"},
		"services":                             {"Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector+"},
		"nodes":                                {"Status", "Roles", "Age", "Version", "Internal-IP+", "External-IP+", "OS-Image+", "Kernel-Version+", "Container-Runtime+"},
		"events":                               {"Last Seen", "Type", "Reason", "Object", "Subobject+", "Source+", "Message", "First Seen+", "Count+", "Name+"},
		"namespaces":                           {"Status", "Age"},
		"secrets":                              {"Type", "Data", "Age"},
		"configmaps":                           {"Data", "Age"},
		"persistentvolumeclaims":               {"Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass", "Age", "VolumeMode+"},
		"persistentvolumes":                    {"Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass", "VolumeAttributesClass", "Reason", "Age", "VolumeMode+"},
		"resourcequotas":                       {"Request", "Limit", "Age"},
		"limitranges":                          {"Created At"},
		"replicationcontrollers":               {"Desired", "Current", "Ready", "Age", "Containers+", "Images+", "Selector+"},
		"podtemplates":                         {"Containers", "Images", "Pod Labels"},
		"endpoints":                            {"Endpoints", "Age"},
		"statefulsets.apps":                    {"Ready", "Age", "Containers+", "Images+"},
		"daemonsets.apps":                      {"Desired", "Current", "Ready", "Up-to-date", "Available", "Node Selector", "Age", "Containers+", "Images+", "Selector+"},
		"controllerrevisions.apps":             {"Controller", "Revision", "Age"},
		"horizontalpodautoscalers.autoscaling": {"Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"},
		"jobs.batch":                           {"Status", "Completions", "Duration", "Age", "Containers+", "Images+", "Selector+"},
		"cronjobs.batch":                       {"Schedule", "Timezone", "Suspend", "Active", "Last Schedule", "Age", "Containers+", "Images+", "Selector+"},
		"endpointslices.discovery.k8s.io":      {"AddressType", "Ports", "Endpoints", "Age"},
	} {
		var got []string
		for _, c := range find(t, resource).Columns {
			name := c.Name
			if c.Priority > 0 {
				name += "+"
			}
			got = append(got, name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", resource, diff)
		}
	}
}

// The clock of the tables: five minutes after everything in them.
var tableNow = time.Date(2030, 1, 1, 0, 5, 0, 0, time.UTC)

const born = `creationTimestamp: "2030-01-01T00:00:00Z"`

func TestRows(t *testing.T) {
	show(t, []shown{
		{"deployment", "deployments.apps", `{metadata: {` + born + `}, spec: {replicas: 3, selector: {matchLabels: {a: b}}, template: {spec: {containers: [{name: x, image: "i:1"}, {name: z, image: "j:2"}]}}}, status: {readyReplicas: 2, updatedReplicas: 3, availableReplicas: 1}}`,
			[]any{"2/3", int64(3), int64(1), "5m", "x,z", "i:1,j:2", "a=b"}},
		{"replica set", "replicasets.apps", `{metadata: {` + born + `}, spec: {replicas: 3, selector: {matchLabels: {a: b}}, template: {spec: {containers: [{name: x, image: i}]}}}, status: {replicas: 2, readyReplicas: 1}}`,
			[]any{int64(3), int64(2), int64(1), "5m", "x", "i", "a=b"}},
		{"service", "services", `{metadata: {` + born + `}, spec: {type: NodePort, clusterIP: 10.0.0.1, selector: {a: b}, ports: [{port: 80, nodePort: 30080, protocol: TCP}, {port: 53, protocol: UDP}]}}`,
			[]any{"NodePort", "10.0.0.1", "<none>", "80:30080/TCP,53/UDP", "5m", "a=b"}},
		{"load balancer", "services", `{spec: {type: LoadBalancer, clusterIP: 10.0.0.1}}`,
			[]any{"LoadBalancer", "10.0.0.1", "<pending>", "<none>", "<unknown>", "<none>"}},
		{"balanced", "services", `{spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{ip: 1.2.3.4}, {hostname: lb.example}]}}}`,
			[]any{"LoadBalancer", "<none>", "1.2.3.4,lb.example", "<none>", "<unknown>", "<none>"}},
		{"external name", "services", `{spec: {type: ExternalName, externalName: db.example}}`,
			[]any{"ExternalName", "<none>", "db.example", "<none>", "<unknown>", "<none>"}},
		{"node", "nodes", `{metadata: {` + born + `, labels: {node-role.kubernetes.io/worker: "", kubernetes.io/role: db}}, spec: {unschedulable: true}, status: {conditions: [{type: Ready, status: "True"}], addresses: [{type: InternalIP, address: 10.0.0.1}], nodeInfo: {kubeletVersion: v1.37.0, osImage: Linux, kernelVersion: "6", containerRuntimeVersion: holt://1}}}`,
			[]any{"Ready,SchedulingDisabled", "db,worker", "5m", "v1.37.0", "10.0.0.1", "<none>", "Linux", "6", "holt://1"}},
		{"silent node", "nodes", `{}`,
			[]any{"Unknown", "<none>", "<unknown>", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"}},
		{"event", "events", `{metadata: {name: e}, involvedObject: {kind: Pod, name: a}, type: Normal, reason: Pulled, message: "Ready ", count: 2, firstTimestamp: "2030-01-01T00:00:00Z", lastTimestamp: "2030-01-01T00:04:00Z", source: {component: agent, host: n1}}`,
			[]any{"60s", "Normal", "Pulled", "pod/a", "", "agent, n1", "Ready", "5m", int64(2), "e"}},
		{"new event", "events", `{metadata: {name: e}, involvedObject: {name: a}, eventTime: "2030-01-01T00:00:00.000000Z", reportingComponent: sched}`,
			[]any{"5m", "", "", "a", "", "sched", "", "5m", int64(1), "e"}},
		{"endpoints", "endpointslices.discovery.k8s.io", `{addressType: IPv4, endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}, {addresses: [10.0.0.3]}, {addresses: [10.0.0.4]}], ports: [{port: 80}]}`,
			[]any{"IPv4", "80", "10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...", "<unknown>"}},
		{"secret", "secrets", `{type: Opaque, data: {a: eA==}}`, []any{"Opaque", int64(1), "<unknown>"}},
		{"namespace", "namespaces", `{metadata: {` + born + `}, status: {phase: Terminating}}`, []any{"Terminating", "5m"}},
		{"lease", "leases.coordination.k8s.io", `{spec: {holderIdentity: n1}}`, []any{"n1", "<unknown>"}},
	})
}

func TestPodRows(t *testing.T) {
	const (
		running = `ready: true, state: {running: {}}`
		done    = `state: {terminated: {exitCode: 0, reason: Completed}}`
	)
	pod := func(meta, spec, status string) string {
		return `{metadata: {name: a` + meta + `}, spec: {containers: [{name: a}, {name: b}]` + spec + `}, status: {` + status + `}}`
	}
	for _, test := range []struct{ name, manifest, ready, status, restarts string }{
		{"new", pod("", "", "phase: Pending"), "0/2", "Pending", "0"},
		{"gated", pod("", "", "phase: Pending, conditions: [{type: PodScheduled, reason: SchedulingGated}]"), "0/2", "SchedulingGated", "0"},
		{"creating", pod("", "", "phase: Pending, containerStatuses: [{name: a, state: {waiting: {reason: ContainerCreating}}}]"), "0/2", "ContainerCreating", "0"},
		{"running", pod("", "", "phase: Running, containerStatuses: [{name: a, "+running+"}, {name: b, "+running+"}]"), "2/2", "Running", "0"},
		{"crashing", pod("", "", `phase: Running, containerStatuses: [{name: a, `+running+`}, {name: b, restartCount: 4, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, finishedAt: "2030-01-01T00:03:00Z"}}}]`), "1/2", "CrashLoopBackOff", "4 (2m ago)"},
		{"failed", pod("", "", "phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 1, reason: Error}}}]"), "0/2", "Error", "0"},
		{"failed silently", pod("", "", "phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 3}}}]"), "0/2", "ExitCode:3", "0"},
		{"killed", pod("", "", "phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 137, signal: 9}}}]"), "0/2", "Signal:9", "0"},
		{"completed", pod("", "", "phase: Succeeded, containerStatuses: [{name: a, "+done+"}, {name: b, "+done+"}]"), "0/2", "Completed", "0"},
		{"half completed", pod("", "", `phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: a, `+done+`}, {name: b, `+running+`}]`), "1/2", "Running", "0"},
		{"half completed, not ready", pod("", "", "phase: Running, containerStatuses: [{name: a, "+done+"}, {name: b, "+running+"}]"), "1/2", "NotReady", "0"},
		{"evicted", pod("", "", "phase: Failed, reason: Evicted"), "0/2", "Evicted", "0"},
		{"initializing", pod("", ", initContainers: [{name: x}, {name: z}]", "phase: Pending, initContainerStatuses: [{name: x, "+done+"}, {name: z, state: {running: {}}}]"), "0/2", "Init:1/2", "0"},
		{"initializing badly", pod("", ", initContainers: [{name: x}]", "phase: Pending, initContainerStatuses: [{name: x, restartCount: 2, state: {waiting: {reason: CrashLoopBackOff}}}]"), "0/2", "Init:CrashLoopBackOff", "2"},
		{"initialized badly", pod("", ", initContainers: [{name: x}]", "phase: Failed, initContainerStatuses: [{name: x, state: {terminated: {exitCode: 2}}}]"), "0/2", "Init:ExitCode:2", "0"},
		{"sidecar", pod("", ", initContainers: [{name: x, restartPolicy: Always}]", "phase: Running, initContainerStatuses: [{name: x, started: true, restartCount: 1, "+running+"}], containerStatuses: [{name: a, "+running+"}, {name: b, "+running+"}]"), "3/3", "Running", "1"},
		{"leaving", pod(`, deletionTimestamp: "2030-01-01T00:00:00Z"`, "", "phase: Running, containerStatuses: [{name: a, "+running+"}]"), "1/2", "Terminating", "0"},
		{"leaving, lost", pod(`, deletionTimestamp: "2030-01-01T00:00:00Z"`, "", "phase: Running, reason: NodeLost"), "0/2", "Unknown", "0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := find(t, "pods")
			got := k.Cells(parse(t, k, test.manifest), tableNow)[:3]
			if diff := cmp.Diff([]any{test.ready, test.status, test.restarts}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	k := find(t, "pods")
	got := k.Cells(parse(t, k, `{metadata: {`+born+`}, spec: {nodeName: n1, readinessGates: [{conditionType: a}, {conditionType: b}]}, status: {podIP: 10.1.0.1, nominatedNodeName: n2, conditions: [{type: a, status: "True"}]}}`), tableNow)[3:]
	if diff := cmp.Diff([]any{"5m", "10.1.0.1", "n1", "n2", "1/2"}, got); diff != "" {
		t.Error(diff)
	}
}
