package kinds_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func claimWith(fields string) string {
	return `{metadata: {name: c, namespace: default}, spec: {` + fields + `}}`
}

const gigabyte = `accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}, `

func volumeWith(fields string) string {
	return `{metadata: {name: v}, spec: {accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}, ` + fields + `}}`
}

func TestClaims(t *testing.T) {
	judge(t, []judged{
		{"claim", "persistentvolumeclaims", claimWith(gigabyte), nil},
		{"empty", "persistentvolumeclaims", claimWith(""),
			[]string{"spec.accessModes: Required value: at least 1 access mode is required", "spec.resources[storage]: Required value"}},
		{"modes", "persistentvolumeclaims", claimWith("accessModes: [ReadWriteOncePod, ReadOnlyMany, Sometimes], volumeMode: Tape, resources: {requests: {storage: 0}}"),
			[]string{`spec.accessModes: Unsupported value: "Sometimes": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"`,
				"spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
				`spec.resources[storage]: Invalid value: "0": must be greater than zero`,
				`spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"`}},
		{"sources", "persistentvolumeclaims", claimWith(gigabyte + "dataSource: {kind: Dump, name: a}, dataSourceRef: {apiGroup: example.com, kind: Dump, name: ''}"),
			[]string{`spec.dataSource: Invalid value: "Dump": must be 'PersistentVolumeClaim' when referencing the default apiGroup`,
				"spec.dataSourceRef.name: Required value", "spec: Invalid value: {}: must match dataSourceRef"}},
		{"class", "persistentvolumeclaims", claimWith(gigabyte + "storageClassName: a_b"),
			[]string{`spec.storageClassName: Invalid value: "a_b": ` + subdomain}},
	})
}

const subdomain = `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start ` +
	`and end with an alphanumeric character (e.g. 'example.com', regex used for validation is ` +
	`'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`

func TestClaimsGrowAndAreBoundOnce(t *testing.T) {
	k := find(t, "persistentvolumeclaims")
	const immutable = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
	larger := strings.Replace(claimWith(gigabyte), "1Gi", "2Gi", 1)
	smaller := strings.Replace(claimWith(gigabyte), "1Gi", "1Mi", 1)
	for name, test := range map[string]struct {
		old, manifest string
		phase         corev1.PersistentVolumeClaimPhase
		want          []string
	}{
		"bound":           {claimWith(gigabyte), claimWith(gigabyte + "volumeName: a"), corev1.ClaimPending, nil},
		"bound again":     {claimWith(gigabyte + "volumeName: a"), claimWith(gigabyte + "volumeName: b"), corev1.ClaimBound, []string{immutable}},
		"waiting grows":   {claimWith(gigabyte), larger, corev1.ClaimPending, []string{immutable}},
		"grows":           {claimWith(gigabyte), larger, corev1.ClaimBound, nil},
		"shrinks":         {claimWith(gigabyte), smaller, corev1.ClaimBound, []string{"spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"}},
		"gets its class":  {claimWith(gigabyte), claimWith(gigabyte + "storageClassName: fast"), corev1.ClaimPending, nil},
		"other class":     {claimWith(gigabyte + "storageClassName: slow"), claimWith(gigabyte + "storageClassName: fast"), corev1.ClaimPending, []string{immutable}},
		"other mode":      {claimWith(gigabyte), claimWith(gigabyte + "volumeMode: Block"), corev1.ClaimBound, []string{immutable, `volumeMode: Invalid value: "Block": field is immutable`}},
		"other attribute": {claimWith(gigabyte + "volumeAttributesClassName: a"), claimWith(gigabyte + "volumeAttributesClassName: b"), corev1.ClaimBound, nil},
	} {
		t.Run(name, func(t *testing.T) {
			old := create(t, k, test.old).(*corev1.PersistentVolumeClaim)
			old.Status.Phase = test.phase
			if test.phase == corev1.ClaimBound {
				old.Status.Capacity = old.Spec.Resources.Requests.DeepCopy()
			}
			_, got := update(t, k, old, test.manifest)
			sameProblems(t, got, test.want...)
		})
	}
}

func TestClaimsSayTwiceWhatFillsThem(t *testing.T) {
	k := find(t, "persistentvolumeclaims")
	for name, test := range map[string]struct {
		source string
		want   bool // that both fields say it
	}{
		"older":            {"dataSource: {kind: PersistentVolumeClaim, name: a}", true},
		"newer":            {"dataSourceRef: {apiGroup: example.com, kind: Dump, name: a}", true},
		"of any kind":      {"dataSource: {apiGroup: example.com, kind: Dump, name: a}", false},
		"snapshot":         {"dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: a}", true},
		"of another place": {"dataSourceRef: {kind: PersistentVolumeClaim, name: a, namespace: b}", false},
	} {
		t.Run(name, func(t *testing.T) {
			spec := create(t, k, claimWith(gigabyte+test.source)).(*corev1.PersistentVolumeClaim).Spec
			if both := spec.DataSource != nil && spec.DataSourceRef != nil; both != test.want {
				t.Errorf("%+v, %+v", spec.DataSource, spec.DataSourceRef)
			}
		})
	}
}

func TestClaimStatus(t *testing.T) {
	k := find(t, "persistentvolumeclaims")
	body := &corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{
		AllocatedResourceStatuses: map[corev1.ResourceName]corev1.ClaimResourceStatus{"cpu": "Growing"},
	}}
	errs := k.Subresources["status"].Update(k.New(), body)
	var got []string
	for _, err := range errs {
		got = append(got, err.Error())
	}
	sameProblems(t, got, `status.allocatedResourceStatuses: Unsupported value: "cpu": supported values: "storage"`,
		`status.allocatedResourceStatuses: Unsupported value: "Growing": supported values: "ControllerResizeInfeasible", `+
			`"ControllerResizeInProgress", "NodeResizeInfeasible", "NodeResizeInProgress", "NodeResizePending"`)
}

func TestVolumes(t *testing.T) {
	const affinity = "nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}"
	judge(t, []judged{
		{"host path", "persistentvolumes", volumeWith("hostPath: {path: /data}"), nil},
		{"local", "persistentvolumes", volumeWith("local: {path: /data}, " + affinity), nil},
		{"CSI", "persistentvolumes", volumeWith("csi: {driver: example.com, volumeHandle: a}, volumeAttributesClassName: gold"), nil},
		{"empty", "persistentvolumes", `{spec: {}}`,
			[]string{"spec.accessModes: Required value", "spec.capacity: Required value",
				`spec.capacity: Unsupported value: null: supported values: "storage"`, "spec: Required value: must specify a volume type"}},
		{"capacity", "persistentvolumes", `{spec: {accessModes: [ReadWriteOnce], capacity: {cpu: -1}, hostPath: {path: /a}}}`,
			[]string{`spec.capacity: Unsupported value: {"cpu":"-1"}: supported values: "storage"`,
				`spec.capacity[cpu]: Invalid value: -1: must be a valid resource quantity`, `spec.capacity[cpu]: Invalid value: "-1": must be greater than zero`}},
		{"two sources", "persistentvolumes", volumeWith("hostPath: {path: /data/../x}, nfs: {}"),
			[]string{`spec.hostPath.path: Invalid value: "/data/../x": must not contain '..'`, "spec.nfs: Forbidden: may not specify more than 1 volume type"}},
		{"recycled root", "persistentvolumes", volumeWith("hostPath: {path: //}, persistentVolumeReclaimPolicy: Recycle"),
			[]string{"spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"}},
		{"local anywhere", "persistentvolumes", volumeWith("local: {path: ''}"),
			[]string{"spec.local.path: Required value", "spec.nodeAffinity: Required value: Local volume requires node affinity"}},
		{"affinity to nothing", "persistentvolumes", volumeWith("hostPath: {path: /a}, nodeAffinity: {}"),
			[]string{"spec.nodeAffinity.required: Required value: must specify required node constraints"}},
		{"policies", "persistentvolumes", volumeWith("nfs: {server: a, path: b}, persistentVolumeReclaimPolicy: Burn, volumeMode: Tape, volumeAttributesClassName: ''"),
			[]string{`spec.persistentVolumeReclaimPolicy: Unsupported value: "Burn": supported values: "Delete", "Recycle", "Retain"`,
				`spec.nfs.path: Invalid value: "b": must be an absolute path`,
				`spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"`,
				"spec.volumeAttributesClassName: Required value: an empty string is disallowed",
				"spec.csi: Required value: has to be specified when using volumeAttributesClassName"}},
		{"CSI driver", "persistentvolumes", volumeWith("csi: {nodePublishSecretRef: {}}"),
			[]string{"spec.csi.driver: Required value", "spec.csi.volumeHandle: Required value",
				"spec.csi.nodePublishSecretRef.name: Required value", "spec.csi.nodePublishSecretRef.namespace: Required value"}},
		{"iSCSI", "persistentvolumes", volumeWith("iscsi: {targetPortal: 'a:1', iqn: 'iqn.2001-04.com.example:disk', lun: 256, chapAuthSession: true, initiatorName: me}"),
			[]string{"spec.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive", "spec.iscsi.secretRef: Required value",
				`spec.iscsi.initiatorname: Invalid value: "me": must be valid format`}},
		{"fibre channel", "persistentvolumes", volumeWith("fc: {targetWWNs: [a], wwids: [b]}"),
			[]string{`spec.fc.targetWWNs: Invalid value: ["a"]: targetWWNs and wwids can not be specified simultaneously`,
				"spec.fc.lun: Required value: lun is required if targetWWNs is specified"}},
		{"flex", "persistentvolumes", volumeWith("flexVolume: {options: {k8s.io/a: b}}"),
			[]string{"spec.flexVolume.driver: Required value", `spec.flexVolume.options[k8s.io/a]: Invalid value: "k8s.io/a": kubernetes.io and k8s.io namespaces are reserved`}},
		{"Azure disk", "persistentvolumes", volumeWith("azureDisk: {diskName: a, diskURI: b, kind: Managed}"),
			[]string{`spec.azureDisk.diskURI: Unsupported value: "b": supported values: "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"`}},
		{"disk", "persistentvolumes", volumeWith("gcePersistentDisk: {partition: 256}"),
			[]string{"spec.gcePersistentDisk.pdName: Required value", "spec.gcePersistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive"}},
	})
	judgeChanges(t, []changed{
		{"another path", "persistentvolumes", volumeWith("hostPath: {path: /a}"), volumeWith("hostPath: {path: /b}"),
			[]string{"spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"}},
		{"a secret to grow", "persistentvolumes", volumeWith("csi: {driver: a, volumeHandle: b}"),
			volumeWith("csi: {driver: a, volumeHandle: b, controllerExpandSecretRef: {name: a, namespace: b}}"), nil},
		{"claimed", "persistentvolumes", volumeWith("hostPath: {path: /a}"), volumeWith("hostPath: {path: /a}, claimRef: {name: c, namespace: default}"), nil},
	})
}

func TestVolumeStatusKeepsItsTime(t *testing.T) {
	k := find(t, "persistentvolumes")
	v := create(t, k, `{metadata: {name: v, `+born+`}}`).(*corev1.PersistentVolume)
	want := metav1.NewTime(v.CreationTimestamp.Time)
	if diff := cmp.Diff(&want, v.Status.LastPhaseTransitionTime); diff != "" {
		t.Fatal(diff)
	}
	if errs := k.Subresources["status"].Update(v, &corev1.PersistentVolume{}); len(errs) > 0 {
		t.Fatal(errs)
	}
	if v.Status.Phase != corev1.VolumePending || v.Status.LastPhaseTransitionTime == nil {
		t.Errorf("%+v", v.Status)
	}
}

func TestStorageRows(t *testing.T) {
	show(t, []shown{
		{"claim", "persistentvolumeclaims", `{metadata: {` + born + `}, spec: {volumeName: v, storageClassName: fast, volumeMode: Block}, status: {phase: Bound, capacity: {storage: 1Gi}, accessModes: [ReadWriteMany, ReadWriteOnce]}}`,
			[]any{"Bound", "v", "1Gi", "RWO,RWX", "fast", "<unset>", "5m", "Block"}},
		{"waiting claim", "persistentvolumeclaims", `{metadata: {deletionTimestamp: "2030-01-01T00:00:00Z"}}`,
			[]any{"Terminating", "", "", "", "", "<unset>", "<unknown>", "<unset>"}},
		{"volume", "persistentvolumes", `{metadata: {` + born + `}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOncePod], persistentVolumeReclaimPolicy: Retain, claimRef: {namespace: a, name: b}, storageClassName: fast, volumeMode: Filesystem, volumeAttributesClassName: gold}, status: {phase: Bound, reason: r}}`,
			[]any{"1Gi", "RWOP", "Retain", "Bound", "a/b", "fast", "gold", "r", "5m", "Filesystem"}},
	})
}
