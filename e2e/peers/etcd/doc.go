// Command etcd is etcd v3.7, unchanged: a main over go.etcd.io/etcd/server.
//
// The release's own main is in a module that cannot be required, as its replacements would be lost.
package main
