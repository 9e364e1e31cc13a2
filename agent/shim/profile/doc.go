// Package profile holds the seccomp profile that a container gets when its pod
// asks for RuntimeDefault (KEP-135): the system calls that ordinary programs
// use, and no way to the machine.
//
// Invariants:
//   - It is a list of what may be done. Anything else is refused with EPERM, and
//     what the kernel has learnt since the list was written with ENOSYS (the
//     runtime adds that), so that programs fall back to older calls.
//   - A call that needs a capability is allowed only with that capability, so
//     that the list never takes away what a pod was granted.
//
// The functions are pure and may be called from any goroutine.
package profile
