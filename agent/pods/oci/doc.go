// Package oci says how a container is to run: it turns a pod's specification and an image's configuration into an
// OCI runtime configuration (runtime-spec v1.3). What the shim decides itself (namespaces, cgroup path, terminal)
// is left out.
//
// Invariants:
//   - Nothing here starts, mounts or writes anything. Env reads objects through a Source, Spec lists the
//     devices of the node for a privileged container; the rest is computed from what is passed in.
//   - An error means that the container cannot be configured: Kubernetes' reason CreateContainerConfigError.
//   - A container that does not ask for more gets no more than a container of a Kubernetes node: the usual
//     fourteen capabilities, the seccomp profile of the runtime, masked paths, six devices.
//
// The functions hold no state and may be called concurrently. What they are given is not changed.
package oci
