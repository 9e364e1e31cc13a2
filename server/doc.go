// Package server is a master: a member of the Raft group that serves the API and, while it leads, runs the control
// loops. It only wires the packages below it.
//
//	client -> listener -> api -> admission -> consensus -> fsm -> events -> watches, control loops
//
// Being leader is a function (leader.go): it starts one list of services and joins them before it returns. Run may be
// called once per process and data folder.
package server
