// Command kubectl is the Kubernetes command line, v1.37.2, unchanged: a main over k8s.io/kubectl.
//
// The e2e tests and `make run` use it so that they need no kubectl on the machine and always drive the
// version that Holt promises to serve. It is a Go module of its own, so that none of kubectl's
// dependencies can reach the holt binary or move the versions in Holt's go.mod.
//
// The version that it reports comes from the linker flags in the Makefile (`make kubectl`); built without
// them it says v0.0.0-master, as any build of the libraries does.
package main
