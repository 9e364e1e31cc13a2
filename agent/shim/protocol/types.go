package protocol

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Version of the messages that this build speaks.
const Version = "1"

// Names inside a pod's folder, shared by shim and client.
const (
	SocketName  = "shim.sock"
	PodFile     = "pod.json"   // the Pod, written by the client before the shim starts
	LogFile     = "shim.log"   // the shim's own log
	NamespaceIn = "ns"         // holds the pinned namespaces net, ipc and uts
	RuntimeIn   = "runtime"    // libcontainer's state
	LockName    = "shim.lock"  // locked while a shim serves the folder
	StdinIn     = "stdin"      // named pipes to standard inputs
	RecordsIn   = "containers" // one durable ContainerStatus per container
	ShimGroup   = "shim"       // the shim's own cgroup, below Pod.CgroupParent
)

// Pod is what the shim must know to make the ground that a pod's containers share.
type Pod struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// Hostname is set in the pod's UTS namespace, unless it is empty.
	Hostname string `json:"hostname,omitempty"`
	// CgroupParent is the pod's cgroup: absolute, clean, below the root.
	CgroupParent string `json:"cgroupParent"`
	// Sysctls are set once, in the pod's namespaces. Only namespaced ones are accepted.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// HostNetwork keeps the network namespace that the shim was started in.
	HostNetwork bool `json:"hostNetwork,omitempty"`
	// HostIPC keeps the IPC namespace that the shim was started in.
	HostIPC bool `json:"hostIPC,omitempty"`
	// HostPID gives containers no PID namespace of their own.
	HostPID bool `json:"hostPID,omitempty"`
}

// Validate says what is wrong with a pod, or nil.
func (p Pod) Validate() error {
	if p.UID == "" {
		return errors.New("pod: uid is empty")
	}
	if !filepath.IsAbs(p.CgroupParent) || filepath.Clean(p.CgroupParent) != p.CgroupParent || p.CgroupParent == "/" {
		return fmt.Errorf("pod: cgroupParent %q is not absolute, clean and below the root", p.CgroupParent)
	}
	return nil
}

// Container is one container to create.
type Container struct {
	// ID is unique in the pod: letters, digits and _ + - . only.
	ID string `json:"id"`
	// Spec is the OCI runtime configuration. The shim itself fills in
	// namespaces, cgroup path, hostname and terminal; what the spec says
	// about those is ignored.
	Spec *specs.Spec `json:"spec"`
	// LogPath is the absolute path of the log, in the CRI format.
	LogPath string `json:"logPath"`
	// LogMaxSize in bytes: a log that has grown to it is renamed to LogPath.1,
	// replacing the one before. 0 never rotates.
	LogMaxSize int64 `json:"logMaxSize,omitempty"`
	// Stdin keeps the standard input open; otherwise it is empty.
	Stdin bool `json:"stdin,omitempty"`
	// TTY gives the process a terminal; all output is then stdout.
	TTY bool `json:"tty,omitempty"`
}

// Validate says what is wrong with a container, or nil.
func (c Container) Validate() error {
	switch {
	case !validID(c.ID):
		return fmt.Errorf("container: id %q: want letters, digits and _ + - . only", c.ID)
	case c.ID == ShimGroup:
		return fmt.Errorf("container: id %q is the name of the shim's own group", c.ID)
	case c.Spec == nil || c.Spec.Root == nil || c.Spec.Process == nil:
		return fmt.Errorf("container %s: spec, spec.root and spec.process are required", c.ID)
	case !filepath.IsAbs(c.Spec.Root.Path):
		return fmt.Errorf("container %s: root path %q is not absolute", c.ID, c.Spec.Root.Path)
	case len(c.Spec.Process.Args) == 0:
		return fmt.Errorf("container %s: no command", c.ID)
	case !filepath.IsAbs(c.Spec.Process.Cwd):
		return fmt.Errorf("container %s: working directory %q is not absolute", c.ID, c.Spec.Process.Cwd)
	case c.Spec.Hooks != nil:
		return fmt.Errorf("container %s: hooks are not run", c.ID)
	case !filepath.IsAbs(c.LogPath):
		return fmt.Errorf("container %s: log path %q is not absolute", c.ID, c.LogPath)
	}
	return nil
}

// validID keeps an ID to one harmless path element.
func validID(id string) bool {
	if id == "" || id == "." || id == ".." || len(id) > 128 {
		return false
	}
	for _, r := range id {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case r == '_', r == '+', r == '-', r == '.':
		default:
			return false
		}
	}
	return true
}

// Status is where a container is in its life; it only moves forward.
type Status string

// The life of a container.
const (
	Created Status = "created" // set up, its command not yet begun
	Running Status = "running"
	Exited  Status = "exited"
)

// ContainerStatus is what the shim knows about one container.
type ContainerStatus struct {
	ID     string `json:"id"`
	PID    int    `json:"pid,omitempty"` // of the first process; kept after its end
	Status Status `json:"status"`
	// CreatedAt, StartedAt and FinishedAt are set when the step was made, and
	// never change afterwards.
	CreatedAt  time.Time `json:"createdAt"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
	// ExitCode is 128+Signal for a process that a signal ended.
	ExitCode int `json:"exitCode"`
	Signal   int `json:"signal,omitempty"`
	// OOMKilled: the kernel killed a process of the container for want of memory.
	OOMKilled bool `json:"oomKilled,omitempty"`
	// Error says what the shim could not find out or do, such as a lost log.
	Error string `json:"error,omitempty"`
}

// State is all that a shim has to say.
type State struct {
	PodUID      string `json:"podUID"`
	ShimPID     int    `json:"shimPID"`
	ShimVersion string `json:"shimVersion"`
	// Containers are in the order of their creation.
	Containers []ContainerStatus `json:"containers"`
}

// Op is what a Request asks for.
type Op string

// The operations. Each may be repeated.
const (
	OpCreate   Op = "create"
	OpStart    Op = "start"
	OpSignal   Op = "signal"
	OpRemove   Op = "remove"
	OpState    Op = "state"
	OpWatch    Op = "watch"
	OpShutdown Op = "shutdown"
)

// Request is the first message on a connection.
type Request struct {
	Op        Op         `json:"op"`
	Container *Container `json:"container,omitempty"` // OpCreate
	ID        string     `json:"id,omitempty"`        // OpStart, OpSignal, OpRemove
	Signal    int        `json:"signal,omitempty"`    // OpSignal
}

// Response is the answer to it.
type Response struct {
	Error *Error `json:"error,omitempty"`
	State *State `json:"state,omitempty"` // OpState
}

// Code sorts errors by what the caller can do about them.
type Code string

// The codes.
const (
	CodeInvalid  Code = "invalid"  // the request cannot be right; do not repeat it
	CodeNotFound Code = "notFound" // no such container
	CodeState    Code = "state"    // the container is not in a state for this
	CodeRuntime  Code = "runtime"  // the container could not be made or started
	CodeInternal Code = "internal" // the shim itself failed
)

// Error is a failed operation. Message carries the runtime's own words.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an Error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
