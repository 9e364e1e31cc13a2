// Command holt is a clustered container orchestrator in one binary: servers, agents, and the tools to run them.
//
// Servers form a Raft group whose state machine holds all cluster state and serve the Kubernetes wire API; agents run
// pods and carry service traffic. docs/design.md explains the parts and why they are as they are; the command tree is
// in cli. The program is pure Go; the process that owns a pod's containers is a small static binary of its own,
// embedded here and written out by the agent (agent/shim).
package main
