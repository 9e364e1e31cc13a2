// Package side runs what is compared: a cluster of Holt, or of kube-apiserver with etcd, on loopback addresses of this
// machine, with everything that it keeps in one folder.
//
//	Holt         server-1 … server-N
//	Kubernetes   etcd-1 … etcd-N, and one apiserver that knows all of them
//
// Both are as their makers set them up: connections are mutual TLS, also those to etcd and between its members, and every
// write is synced to disk. The flags of kube-apiserver and etcd are those that kubeadm gives them, less what needs
// controllers that do not run.
//
// A Cluster belongs to one goroutine. Its processes end with Stop and, should the benchmark itself be killed, with it.
package side
