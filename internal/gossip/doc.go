// Package gossip is the encrypted pool in which all servers and agents tell each other who lives.
//
// It wraps hashicorp/memberlist (SWIM with Lifeguard). Whoever holds the key is believed, so gossip only hints: it
// wakes the leader, which decides through Raft. memberlist does not rejoin by itself after a partition; Run does,
// from the addresses that its owner knows.
//
// A Pool may be used by any goroutine.
package gossip
