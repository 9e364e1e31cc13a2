// Command etcd is etcd v3.7, unchanged: a main over go.etcd.io/etcd/server's etcdmain, as the release's own is, so that
// both programs are built with the versions of one go.mod.
package main
