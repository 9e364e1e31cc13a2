// Package node registers the agent's Node object and keeps it true.
//
// The Node says what the machine has, where it is reached, and that it is ready. It is written when something differs
// and at no other time: that a node lives is gossip's to know, so an idle node writes nothing. When a leader has
// marked the node as lost and the agent lives, the agent says so again.
//
// A Registrar belongs to one goroutine.
package node
