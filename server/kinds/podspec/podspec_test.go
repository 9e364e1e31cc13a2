package podspec_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/holt-project/holt/server/kinds/podspec"
)

func parse(t *testing.T, text string) *corev1.PodSpec {
	t.Helper()
	spec := &corev1.PodSpec{}
	if err := yaml.UnmarshalStrict([]byte(text), spec); err != nil {
		t.Fatal(err)
	}
	podspec.DefaultPod(spec)
	return spec
}

// container is a specification whose only container has more.
func container(fields string) string { return "{containers: [{name: c, image: i, " + fields + "}]}" }

// spec is a specification with one plain container that has more itself.
func spec(fields string) string { return "{" + fields + ", containers: [{name: c, image: i}]}" }

func TestValidate(t *testing.T) {
	const c0 = "spec.containers[0]."
	for _, test := range []struct {
		text string
		want []string
	}{
		{container(""), nil},
		{"{}", []string{"spec.containers: Required value"}},
		{spec("volumes: [{name: a, ephemeral: {}}, {name: b, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce]}}}}]"),
			[]string{"spec.volumes[0].ephemeral.volumeClaimTemplate: Required value",
				"spec.volumes[1].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value"}},
		{"{containers: [{}]}", []string{c0 + "name: Required value", c0 + "image: Required value"}},
		{"{containers: [{name: c, image: i}, {name: c, image: ' i'}]}", []string{
			`spec.containers[1].name: Duplicate value: "c"`,
			`spec.containers[1].image: Invalid value: " i": must not have leading or trailing whitespace`}},
		{spec("restartPolicy: Maybe"), []string{`spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"`}},
		{spec("dnsPolicy: None"), []string{"spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"}},
		{spec("dnsPolicy: None, dnsConfig: {nameservers: [x]}"), []string{
			`spec.dnsConfig.nameservers[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`}},
		{spec("dnsConfig: {nameservers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4], options: [{value: x}]}"), []string{
			`spec.dnsConfig.nameservers: Invalid value: ["1.1.1.1","1.1.1.2","1.1.1.3","1.1.1.4"]: must not have more than 3 nameservers`,
			"spec.dnsConfig.options[0]: Required value: must not be empty"}},
		{spec("activeDeadlineSeconds: 0"), []string{"spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"}},
		{container("imagePullPolicy: Sometimes"), []string{c0 + `imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"`}},
		{container("ports: [{containerPort: 80, name: a}, {containerPort: 81, name: a}]"), []string{c0 + `ports[1].name: Duplicate value: "a"`}},
		{container("ports: [{containerPort: 0}, {containerPort: 70000, protocol: ICMP}]"), []string{
			c0 + "ports[0].containerPort: Required value",
			c0 + "ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
			c0 + `ports[1].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"`}},
		{container("ports: [{containerPort: 80, hostPort: 80}, {containerPort: 81, hostPort: 80}]"), []string{c0 + `ports[1].hostPort: Duplicate value: "TCP//80"`}},
		{"{hostNetwork: true, containers: [{name: c, image: i, ports: [{containerPort: 80, hostPort: 81}]}]}", []string{
			c0 + "ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true"}},
		{container(`env: [{name: "a=b"}]`), []string{c0 + `env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '='`}},
		{container("env: [{value: x}]"), []string{c0 + "env[0].name: Required value"}},
		{container("env: [{name: a, valueFrom: {}}]"), []string{c0 + "env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"}},
		{container("env: [{name: a, value: b, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]"), []string{c0 + "env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"}},
		{container("env: [{name: a, valueFrom: {fieldRef: {fieldPath: spec.x}}}]"), []string{c0 + `env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.x": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"`}},
		{container("env: [{name: a, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}]"), nil},
		{container("env: [{name: a, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 3}}}]"), []string{
			c0 + `env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "3": only divisor's values 1, 1m are supported with the cpu resource`}},
		{container("env: [{name: a, valueFrom: {secretKeyRef: {name: s}}}]"), []string{c0 + "env[0].valueFrom.secretKeyRef.key: Required value"}},
		{container("envFrom: [{}, {configMapRef: {}}]"), []string{
			c0 + "envFrom[0]: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
			c0 + "envFrom[1].configMapRef.name: Required value"}},
		{container("resources: {limits: {cpu: 1}, requests: {cpu: 2}}"), []string{c0 + `resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1`}},
		{container("resources: {requests: {memory: -1}}"), []string{c0 + `resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0`}},
		{container("resources: {limits: {gold: 1}}"), []string{
			c0 + `resources.limits[gold]: Invalid value: "gold": must be a standard resource for containers`,
			c0 + `resources.requests[gold]: Invalid value: "gold": must be a standard resource for containers`}},
		{container("resources: {requests: {example.com/gpu: 1}}"), []string{c0 + "resources.limits: Required value: Limit must be set for non overcommitable resources"}},
		{container("resources: {limits: {example.com/gpu: 2}, requests: {example.com/gpu: 1}}"), []string{
			c0 + `resources.requests: Invalid value: "1": must be equal to example.com/gpu limit of 2`}},
		{container("livenessProbe: {}"), []string{c0 + "livenessProbe: Required value: must specify a handler type"}},
		{container("livenessProbe: {successThreshold: 2, exec: {command: []}}"), []string{
			c0 + "livenessProbe.exec.command: Required value", c0 + "livenessProbe.successThreshold: Invalid value: 2: must be 1"}},
		{container("readinessProbe: {tcpSocket: {port: 0}, httpGet: {port: http, scheme: FTP}}"), []string{
			c0 + `readinessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"`,
			c0 + "readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"}},
		{container("lifecycle: {preStop: {sleep: {seconds: 60}}}"), []string{
			c0 + "lifecycle.preStop.sleep: Invalid value: 60: must be non-negative and less than terminationGracePeriodSeconds"}},
		{container("volumeMounts: [{name: none, mountPath: /a}]"), []string{c0 + `volumeMounts[0].name: Not found: "none"`}},
		{"{volumes: [{name: v}], containers: [{name: c, image: i, volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /a, subPath: ../b}, {name: v}]}]}", []string{
			c0 + `volumeMounts[1].mountPath: Invalid value: "/a": must be unique`,
			c0 + `volumeMounts[1].subPath: Invalid value: "../b": must not contain '..'`,
			c0 + "volumeMounts[2].mountPath: Required value"}},
		{"{volumes: [{name: v}], containers: [{name: c, image: i, volumeMounts: [{name: v, mountPath: /a, mountPropagation: Bidirectional}]}]}", []string{
			c0 + "volumeMounts[0].mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers"}},
		{spec("volumes: [{name: v}, {name: v, emptyDir: {}, hostPath: {path: /a}}]"), []string{
			`spec.volumes[1].name: Duplicate value: "v"`,
			"spec.volumes[1].emptyDir: Forbidden: may not specify more than 1 volume type"}},
		{spec("volumes: [{name: v, hostPath: {path: /a/../b}}, {name: w, hostPath: {path: /a, type: Thing}}]"), []string{
			`spec.volumes[0].hostPath.path: Invalid value: "/a/../b": must not contain '..'`,
			`spec.volumes[1].hostPath.type: Unsupported value: "Thing": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"`}},
		{spec("volumes: [{name: v, secret: {}}, {name: w, configMap: {name: m, defaultMode: 512, items: [{key: k, path: /p}]}}]"), []string{
			"spec.volumes[0].secret.secretName: Required value",
			"spec.volumes[1].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
			`spec.volumes[1].configMap.items[0].path: Invalid value: "/p": must be a relative path`}},
		{spec("volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 5}}]}}]"), []string{
			"spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes"}},
		{spec("volumes: [{name: v, downwardAPI: {items: [{path: ..x, fieldRef: {fieldPath: status.podIP}}]}}]"), []string{
			`spec.volumes[0].downwardAPI.path: Invalid value: "..x": must not start with '..'`,
			`spec.volumes[0].downwardAPI.fieldRef.fieldPath: Unsupported value: "status.podIP": supported values: "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"`}},
		{spec("initContainers: [{name: c, image: i, livenessProbe: {exec: {command: [a]}}}]"), []string{
			`spec.initContainers[0].name: Duplicate value: "c"`,
			"spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"}},
		{spec("initContainers: [{name: s, image: i, restartPolicy: Always, livenessProbe: {exec: {command: [a]}}}]"), nil},
		{spec("ephemeralContainers: [{name: e, image: i, targetContainerName: x, ports: [{containerPort: 1}]}]"), []string{
			`spec.ephemeralContainers[0].targetContainerName: Not found: "x"`,
			"spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container"}},
		{spec("tolerations: [{operator: Equal}]"), []string{
			"spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\""}},
		{spec("tolerations: [{key: a, operator: Like}, {key: a, tolerationSeconds: 5, effect: NoSchedule}]"), []string{
			`spec.tolerations[0].operator: Unsupported value: "Like": supported values: "Equal", "Exists", "Lt", "Gt"`,
			"spec.tolerations[1].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set"}},
		{spec("topologySpreadConstraints: [{maxSkew: 0, topologyKey: zone, whenUnsatisfiable: Never}]"), []string{
			"spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
			`spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Never": supported values: "DoNotSchedule", "ScheduleAnyway"`}},
		{spec("affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In}, {key: b, operator: Gt, values: [x]}]}]}}}"), []string{
			"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
			"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1].values[0]: Invalid value: \"x\": must be an integer when `operator` is 'Lt' or 'Gt'"}},
		{spec("affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 101, podAffinityTerm: {}}]}}"), []string{
			"spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be in the range 1-100",
			"spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Required value: can not be empty"}},
		{spec("nodeName: n1, schedulingGates: [{name: a}, {name: a}]"), []string{
			`spec.schedulingGates[1]: Duplicate value: "a"`,
			"spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"}},
		{spec("securityContext: {runAsUser: -1, sysctls: [{name: net..x}, {name: net.core.somaxconn}, {name: net/core/somaxconn}]}"), []string{
			"spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
			`spec.securityContext.sysctls[0].name: Invalid value: "net..x": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`,
			`spec.securityContext.sysctls[2].name: Duplicate value: "net/core/somaxconn"`}},
		{spec("hostUsers: false, hostPID: true"), []string{"spec.securityContext.hostPID: Forbidden: when `hostUsers` is false"}},
		{spec("securityContext: {seccompProfile: {type: Localhost}}"), []string{
			"spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost"}},
		{spec("hostAliases: [{ip: x, hostnames: [a]}], imagePullSecrets: [{}]"), []string{
			"spec.imagePullSecrets[0].name: Required value",
			`spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`}},
	} {
		t.Run(test.text, func(t *testing.T) {
			var got []string
			for _, err := range podspec.Validate(parse(t, test.text), field.NewPath("spec")) {
				got = append(got, err.Error())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrivilegeCannotBeKeptFromThePrivileged(t *testing.T) {
	for _, fields := range []string{"privileged: true", "capabilities: {add: [SYS_ADMIN]}"} {
		text := container("securityContext: {allowPrivilegeEscalation: false, " + fields + "}")
		errs := podspec.Validate(parse(t, text), field.NewPath("spec"))
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), "cannot set `allowPrivilegeEscalation` to false") {
			t.Errorf("%s: %v", fields, errs)
		}
	}
}

func TestValidateUpdate(t *testing.T) {
	for name, test := range map[string]struct {
		old, now string
		want     string
	}{
		"image":              {container(""), strings.Replace(container(""), "image: i", "image: j, imagePullPolicy: Always", 1), ""},
		"command":            {container(""), container("command: [x]"), "spec: Forbidden: pod updates may not change fields other than"},
		"added container":    {container(""), "{containers: [{name: c, image: i}, {name: d, image: i}]}", "spec: Forbidden: pod updates may not add or remove containers"},
		"node":               {container(""), spec("nodeName: n1"), "spec: Forbidden: pod updates"},
		"sooner":             {spec("activeDeadlineSeconds: 9"), spec("activeDeadlineSeconds: 5"), ""},
		"a deadline":         {container(""), spec("activeDeadlineSeconds: 5"), ""},
		"later":              {spec("activeDeadlineSeconds: 5"), spec("activeDeadlineSeconds: 9"), "spec.activeDeadlineSeconds: Invalid value: 9: must be less than or equal to previous value"},
		"no deadline":        {spec("activeDeadlineSeconds: 5"), container(""), "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"},
		"added toleration":   {spec("tolerations: [{key: a}]"), spec("tolerations: [{key: b}, {key: a}]"), ""},
		"removed toleration": {spec("tolerations: [{key: a}]"), spec("tolerations: [{key: b}]"), "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"},
		"longer toleration":  {spec("tolerations: [{key: a, effect: NoExecute, tolerationSeconds: 5}]"), spec("tolerations: [{key: a, effect: NoExecute, tolerationSeconds: 9}]"), ""},
		"grace":              {spec("terminationGracePeriodSeconds: 5"), spec("terminationGracePeriodSeconds: 1"), "spec: Forbidden: pod updates"},
		"negative grace":     {spec("terminationGracePeriodSeconds: -5"), spec("terminationGracePeriodSeconds: 1"), ""},
		"gate removed":       {spec("schedulingGates: [{name: a}, {name: b}]"), spec("schedulingGates: [{name: b}]"), ""},
		"gate added":         {container(""), spec("schedulingGates: [{name: a}]"), "spec: Forbidden: pod updates"},
		"gated selector":     {spec("schedulingGates: [{name: a}]"), spec("schedulingGates: [{name: a}], nodeSelector: {x: z}"), ""},
		"selector":           {container(""), spec("nodeSelector: {x: z}"), "spec: Forbidden: pod updates"},
	} {
		t.Run(name, func(t *testing.T) {
			errs := podspec.ValidateUpdate(parse(t, test.now), parse(t, test.old), field.NewPath("spec"))
			switch {
			case test.want == "" && len(errs) == 0:
			case test.want != "" && len(errs) > 0 && strings.HasPrefix(errs[0].Error(), test.want):
			default:
				t.Errorf("%v, want %q", errs, test.want)
			}
		})
	}
}

func TestPullPolicy(t *testing.T) {
	for image, want := range map[string]corev1.PullPolicy{
		"a": corev1.PullAlways, "a:latest": corev1.PullAlways, "host:5000/a": corev1.PullAlways,
		"a:1": corev1.PullIfNotPresent, "host:5000/a:1": corev1.PullIfNotPresent, "a@sha256:0": corev1.PullIfNotPresent,
		"a:latest@sha256:0": corev1.PullIfNotPresent,
	} {
		spec := &corev1.PodSpec{Containers: []corev1.Container{{Image: image}}}
		podspec.Default(spec)
		if got := spec.Containers[0].ImagePullPolicy; got != want {
			t.Errorf("%s: %s, want %s", image, got, want)
		}
	}
}

func TestQOS(t *testing.T) {
	for text, want := range map[string]corev1.PodQOSClass{
		container(""): corev1.PodQOSBestEffort,
		container("resources: {limits: {example.com/gpu: 1}}"):                            corev1.PodQOSBestEffort,
		container("resources: {requests: {cpu: 1}}"):                                      corev1.PodQOSBurstable,
		container("resources: {limits: {cpu: 1}}"):                                        corev1.PodQOSBurstable,
		container("resources: {limits: {cpu: 1, memory: 1Gi}}"):                           corev1.PodQOSGuaranteed,
		container("resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}"):    corev1.PodQOSBurstable,
		spec("initContainers: [{name: x, image: i, resources: {limits: {cpu: 1}}}]"):      corev1.PodQOSBurstable,
		spec("resources: {limits: {cpu: 1, memory: 1Gi}}"):                                corev1.PodQOSGuaranteed,
		container("resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: '1000m'}}"): corev1.PodQOSGuaranteed,
	} {
		if got := podspec.QOS(parse(t, text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestDefaultedIsValid(t *testing.T) {
	text := spec("hostNetwork: true, volumes: [{name: v}, {name: s, secret: {secretName: s}}, {name: h, hostPath: {path: /a}}], " +
		"initContainers: [{name: x, image: i, ports: [{containerPort: 80}]}], serviceAccount: old")
	parsed := parse(t, text)
	if errs := podspec.Validate(parsed, field.NewPath("spec")); len(errs) > 0 {
		t.Error(errs)
	}
	if parsed.ServiceAccountName != "old" || parsed.InitContainers[0].Ports[0].HostPort != 80 {
		t.Errorf("%+v", parsed)
	}
}
