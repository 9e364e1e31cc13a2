// Package peers has the programs that Holt is measured against, unchanged: each folder is a main over one of them.
//
//	apiserver   kube-apiserver v1.37.2
//	etcd        etcd v3.7
//
// They are a Go module of their own, so that none of their dependencies can reach the holt binary or move the versions in
// Holt's go.mod; k8s.io/kubernetes takes other modules from its own tree, which are named here by the versions under
// which they are published. Both programs share one etcd client, as they do in a release. `make peers` builds them into
// bin/peers, and nothing but `make bench-peers` needs that: the first build compiles some two thousand packages.
package peers
