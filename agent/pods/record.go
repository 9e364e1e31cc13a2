package pods

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/agent/pods/status"
	"github.com/holt-project/holt/agent/shim/record"
)

// stage is where a pod is in its life; it only moves forward.
type stage string

const (
	live     stage = "live"
	stopping stage = "stopping"
	released stage = "released"
)

// podRecord is what a worker must find again after a restart of the agent.
type podRecord struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid"`
	// HostNetwork: the pod has no link.
	HostNetwork bool  `json:"hostNetwork,omitempty"`
	Stage       stage `json:"stage"`
	// StopUntil is when what still runs is killed; set when stopping begins, and only ever brought forward.
	StopUntil time.Time `json:"stopUntil,omitzero"`
	// Sandbox: a shim was started, or is about to be, and has not been cleaned up.
	Sandbox bool `json:"sandbox,omitempty"`
	// Volumes were made once for this sandbox.
	Volumes bool         `json:"volumes,omitempty"`
	Facts   status.Facts `json:"facts"`
}

const recordName = "record.json"

func newRecord(pod *corev1.Pod, hostIP string) *podRecord {
	return &podRecord{
		Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, HostNetwork: pod.Spec.HostNetwork, Stage: live,
		Facts: status.Facts{HostIP: hostIP, StartTime: time.Now().UTC(), Containers: map[string]*status.Container{}},
	}
}

// readRecord returns nil without an error if there is none.
func readRecord(dir string) (*podRecord, error) {
	out := &podRecord{}
	err := record.Read(filepath.Join(dir, recordName), out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if out.Facts.Containers == nil {
		out.Facts.Containers = map[string]*status.Container{}
	}
	return out, nil
}

func (r *podRecord) write(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return record.Write(filepath.Join(dir, recordName), r)
}

// podDir is the folder of a pod below a root.
func podDir(root string, uid types.UID) string { return filepath.Join(root, "pods", string(uid)) }

// logDir is where a pod's logs are.
func logDir(root, namespace, name string, uid types.UID) string {
	return filepath.Join(root, namespace+"_"+name+"_"+string(uid))
}
