// Package podspec holds the rules of a pod's specification, which pods, deployments and replica sets share: what is
// filled in when left out, what is valid, what may change, and which quality of service follows.
//
// The rules and their messages are those of Kubernetes' API reference (core/v1 PodSpec), because clients show them and
// tests compare them. Defaulting is idempotent, and what it produced from a valid specification is valid.
//
// All functions are pure; only those named Default change what they are given. Any goroutine may call them on its own
// objects.
package podspec
