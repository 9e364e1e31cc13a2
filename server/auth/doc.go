// Package auth finds out who makes a request and decides what that may do.
//
// Identity is a client certificate of the cluster's CA: its common name is the user, its organizations are the groups.
// Administrators (system:masters) and servers may do everything. A node may read what every node needs, and write
// only its own Node, the pods that are bound to it, and events; of ConfigMaps and Secrets it may read those that its
// pods refer to. Everybody else gets health, version and the way to join.
//
// An Authorizer reads the present state at every decision and may be used by any goroutine.
package auth
