// Package controllers is the harness that runs every control loop of the leader.
//
// A Controller is a pure function from a View and a key to a Plan. Events only mark keys as dirty; a sweep at the
// start marks all of them, so a missed event harms nothing and a new leader works at once, from the state that it
// has in memory. The harness plans all dirty keys on one view, writes the changes in one batch, and plans a key again
// when its change failed.
//
//	events, sweep -> dirty keys -> Plan(view, key, now) -> changes -> Writer -> Raft -> events
//
// Because a change is in the leader's own view before its write returns, no controller needs expectations or a cache.
//
// Run belongs to one goroutine for each controller. Controllers live in packages of their own, one for each noun, and
// import nothing of the server but this package and kinds.
package controllers
