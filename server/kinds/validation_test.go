package kinds_test

import (
	"strings"
	"testing"
)

// podWith is a pod whose specification and only container have more.
func podWith(spec, container string) string {
	return "{metadata: {name: a, namespace: default}, spec: {" + spec + "containers: [{name: c, image: i, " + container + "}]}}"
}

func deploymentWith(fields string) string {
	return `{metadata: {name: a, namespace: default}, spec: {selector: {matchLabels: {a: b}}, ` +
		fields + `template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}`
}

func serviceWith(fields string) string {
	return `{metadata: {name: a, namespace: default}, spec: {` + fields + `}}`
}

const dnsLabel = `a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end ` +
	`with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`

func TestValidation(t *testing.T) {
	judge(t, []judged{
		{"deployment", "deployments.apps", webDeployment, nil},
		{"no selector", "deployments.apps", `{spec: {template: {spec: {containers: [{name: c, image: i}]}}}}`,
			[]string{"spec.selector: Required value"}},
		{"selector of others", "deployments.apps", strings.Replace(webDeployment, "matchLabels: {app: web}", "matchLabels: {app: db}", 1),
			[]string{"spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`"}},
		{"template that ends", "deployments.apps", `{spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {restartPolicy: Never, activeDeadlineSeconds: 5, containers: [{name: c, image: i}]}}}}`,
			[]string{`spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"`,
				"spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"}},
		{"negative numbers", "deployments.apps", deploymentWith("replicas: -1, revisionHistoryLimit: -2, "),
			[]string{"spec.replicas: Invalid value: -1: must be greater than or equal to 0",
				"spec.revisionHistoryLimit: Invalid value: -2: must be greater than or equal to 0"}},
		{"deadline before ready", "deployments.apps", deploymentWith("minReadySeconds: 600, "),
			[]string{"spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"}},
		{"no room to roll", "deployments.apps", deploymentWith(`strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: "0%"}}, `),
			[]string{"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0"}},
		{"recreate with rolling", "deployments.apps", deploymentWith(`strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}, `),
			[]string{"spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"}},
		{"unknown strategy", "deployments.apps", deploymentWith(`strategy: {type: Blue}, `),
			[]string{`spec.strategy.type: Unsupported value: "Blue": supported values: "Recreate", "RollingUpdate"`}},
		{"replica set", "replicasets.apps", `{spec: {replicas: -1, template: {spec: {}}}}`,
			[]string{"spec.replicas: Invalid value: -1: must be greater than or equal to 0", "spec.selector: Required value",
				"spec.template.spec.containers: Required value"}},

		{"service", "services", serviceWith("ports: [{port: 80}]"), nil},
		{"headless without ports", "services", serviceWith("clusterIP: None"), nil},
		{"no ports", "services", serviceWith(""), []string{"spec.ports: Required value"}},
		{"headless node port", "services", serviceWith("clusterIP: None, type: NodePort, ports: [{port: 80}]"),
			[]string{`spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services`}},
		{"nameless ports", "services", serviceWith("ports: [{port: 80}, {port: 80, name: b}]"),
			[]string{"spec.ports[0].name: Required value", `spec.ports[1]: Duplicate value: {"protocol":"TCP","port":80,"targetPort":0}`}},
		{"bad ports", "services", serviceWith("ports: [{port: 0, protocol: ICMP, targetPort: 70000}]"),
			[]string{"spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
				`spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"`,
				"spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive"}},
		{"node port of a cluster service", "services", serviceWith("ports: [{port: 80, nodePort: 30000}]"),
			[]string{"spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"}},
		{"type", "services", serviceWith("type: Magic, ports: [{port: 80}]"),
			[]string{`spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"`}},
		{"external name", "services", serviceWith("type: ExternalName, externalName: db.example.com"), nil},
		{"external name missing", "services", serviceWith("type: ExternalName"), []string{"spec.externalName: Required value"}},
		{"addresses", "services", serviceWith("clusterIP: 10.0.0.x, ports: [{port: 80}]"),
			[]string{`spec.clusterIPs[0]: Invalid value: "10.0.0.x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`}},
		{"external loopback", "services", serviceWith("externalIPs: [127.0.0.1], ports: [{port: 80}]"),
			[]string{`spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)`}},
		{"affinity", "services", serviceWith("sessionAffinity: Cookie, ports: [{port: 80}]"),
			[]string{`spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"`}},
		{"traffic", "services", serviceWith("externalTrafficPolicy: Local, ports: [{port: 80}]"),
			[]string{`spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services`}},

		{"endpoints on the node's loopback", "endpointslices.discovery.k8s.io", `{addressType: IPv4, endpoints: [{addresses: [127.0.0.1]}, {addresses: [169.254.169.254]}]}`,
			[]string{`endpoints[0].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)`,
				`endpoints[1].addresses[0]: Invalid value: "169.254.169.254": may not be in the link-local range (169.254.0.0/16, fe80::/10)`}},
		{"endpoints of no type", "endpointslices.discovery.k8s.io", `{endpoints: [{addresses: []}], ports: [{port: 1}, {port: 2}]}`,
			[]string{"addressType: Required value", "endpoints[0].addresses: Required value: must contain at least 1 address",
				`ports[1].name: Duplicate value: ""`}},
		{"endpoints of another family", "endpointslices.discovery.k8s.io", `{addressType: IPv6, endpoints: [{addresses: [10.0.0.1]}]}`,
			[]string{`endpoints[0].addresses[0]: Invalid value: "10.0.0.1": must be a valid IPv6 address`}},

		{"config map keys", "configmaps", `{data: {"a/b": x, c: y}, binaryData: {c: eA==}}`,
			[]string{`data[a/b]: Invalid value: "a/b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')`,
				`data[c]: Invalid value: "c": duplicate of key present in binaryData`}},
		{"TLS secret", "secrets", `{type: kubernetes.io/tls, stringData: {tls.crt: x}}`, []string{"data[tls.key]: Required value"}},
		{"registry credentials", "secrets", `{type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: "{"}}`,
			[]string{`data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": must be valid JSON`}},
		{"basic auth", "secrets", `{type: kubernetes.io/basic-auth}`,
			[]string{"data[username]: Required value", "data[password]: Required value"}},
		{"finalizer", "namespaces", `{spec: {finalizers: [mine]}}`,
			[]string{`spec.finalizers[0]: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified`}},
		{"taints", "nodes", `{spec: {taints: [{key: a, effect: Flee}, {key: a, effect: Flee}]}}`,
			[]string{`spec.taints[0].effect: Unsupported value: "Flee": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"`,
				`spec.taints[1]: Duplicate value: {"key":"a","effect":"Flee"}: taints must be unique by key and effect pair`,
				`spec.taints[1].effect: Unsupported value: "Flee": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"`}},
		{"event elsewhere", "events", `{metadata: {namespace: a}, involvedObject: {namespace: b}}`,
			[]string{`involvedObject.namespace: Invalid value: "b": does not match event.namespace`}},
		{"event of a node", "events", `{metadata: {namespace: default}, involvedObject: {kind: Node, name: a}}`, nil},
		{"lease", "leases.coordination.k8s.io", `{spec: {leaseDurationSeconds: 0}}`,
			[]string{"spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"}},
		{"priority of a user", "priorityclasses.scheduling.k8s.io", `{metadata: {name: a}, value: 2000000000}`,
			[]string{"value: Forbidden: maximum allowed value of a user defined priority is 1000000000"}},
		{"priority of the system", "priorityclasses.scheduling.k8s.io", `{metadata: {name: system-node-critical}, value: 2000001000}`, nil},
		{"priority that pretends", "priorityclasses.scheduling.k8s.io", `{metadata: {name: system-mine}, value: 1}`,
			[]string{"metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only"}},
		{"mirror pod", "pods", `{metadata: {annotations: {kubernetes.io/config.mirror: x}}, spec: {containers: [{name: c, image: i}]}}`,
			[]string{"metadata.annotations[kubernetes.io/config.mirror]: Forbidden: must set spec.nodeName if mirror pod annotation is set"}},
		{"pod", "pods", podWith("nodeName: worker-1, ", ""), nil},
		{"pod name", "pods", strings.Replace(podWith("", ""), "name: c", "name: C", 1),
			[]string{`spec.containers[0].name: Invalid value: "C": ` + dnsLabel}},
	})
}

func TestUpdates(t *testing.T) {
	const immutableService = `{metadata: {name: a}, spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}}`
	judgeChanges(t, []changed{
		{"selector", "deployments.apps", webDeployment, strings.ReplaceAll(webDeployment, "app: web", "app: db"),
			[]string{`spec.selector: Invalid value: {"matchLabels":{"app":"db"}}: field is immutable`}},
		{"replicas", "deployments.apps", webDeployment, strings.Replace(webDeployment, "spec:\n", "spec:\n  replicas: 3\n", 1), nil},
		{"cluster IP", "services", immutableService, strings.Replace(immutableService, "10.0.0.1", "10.0.0.2", 1),
			[]string{`spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set`}},
		{"cluster IP left out", "services", immutableService, `{metadata: {name: a}, spec: {ports: [{port: 81}]}}`, nil},
		{"to a name", "services", immutableService, `{metadata: {name: a}, spec: {type: ExternalName, externalName: b.c, clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1]}}`, nil},
		{"secret type", "secrets", `{type: a}`, `{type: b}`, []string{`type: Invalid value: "b": field is immutable`}},
		{"immutable secret", "secrets", `{immutable: true, stringData: {a: b}}`, `{stringData: {a: c}}`,
			[]string{"immutable: Forbidden: field is immutable when `immutable` is set", "data: Forbidden: field is immutable when `immutable` is set"}},
		{"immutable config map", "configmaps", `{immutable: true, data: {a: b}}`, `{immutable: true, data: {a: c}}`,
			[]string{"data: Forbidden: field is immutable when `immutable` is set"}},
		{"address type", "endpointslices.discovery.k8s.io", `{addressType: IPv4}`, `{addressType: IPv6}`,
			[]string{`addressType: Invalid value: "IPv6": field is immutable`}},
		{"pod network of a node", "nodes", `{spec: {podCIDR: 10.1.0.0/24, podCIDRs: [10.1.0.0/24]}}`, `{spec: {podCIDR: 10.2.0.0/24, podCIDRs: [10.2.0.0/24]}}`,
			[]string{`spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid`}},
		{"value of a priority", "priorityclasses.scheduling.k8s.io", `{metadata: {name: a}, value: 1}`, `{metadata: {name: a}, value: 2}`,
			[]string{"value: Forbidden: may not be changed in an update."}},
		{"image of a pod", "pods", podWith("", ""), strings.Replace(podWith("", ""), "image: i", "image: j", 1), nil},
		{"command of a pod", "pods", podWith("", ""), podWith("", "command: [a], "),
			[]string{"spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"}},
	})
}
