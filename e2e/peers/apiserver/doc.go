// Command apiserver is kube-apiserver v1.37.2, unchanged: a main over k8s.io/kubernetes with the registrations that the
// release's own main has.
//
// The version that it reports comes from the linker flags in the Makefile (`make peers`).
package main
