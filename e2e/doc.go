// Package e2e has tests only: they start real clusters of several hosts on this machine and drive them with the real
// kubectl, as a user would, while hosts lose their power, processes are killed and images or tokens are wrong.
//
//	testdata/shared/*.txtar   scripts that need a cluster and leave it whole; all share one, each in its own namespace
//	testdata/own/*.txtar      scripts that take hosts away; each has a cluster of its own
//	*_test.go                 what needs load or concurrency, or speaks something else than kubectl
//
// A script is text for rogpeppe/go-internal/testscript: its commands, and the ones below. What is in brackets may be
// left out; an exclamation mark before kubectl, holt or toolbox means that it must fail.
//
//	kubectl ARGS              the real kubectl; its kubeconfig is the script's: its cluster, its namespace
//	holt ARGS                 the binary under test
//	eventually REGEXP CMD     repeat a command until its standard output matches, for a minute at most
//	capture VARIABLE CMD      set an environment variable to what a command prints
//	toolbox NAME ARGS         run the toolbox image to its end in a pod of that name; its log is the standard output
//	ask URL N                 ask whoami until N different pods have answered; prints each pod and how often it did
//	host VERB NAME            kill, killprocess, start, stop, pause, resume, cut or heal a host; leader names the leader
//	on-disk TEXT              look for a text in all files that the servers keep; ! on-disk wants it nowhere
//	same-state                wait until all servers have the same digest of the same revision
//
// Environment of a script: NAMESPACE, SANDBOX (its name), EXAMPLES (the folder), NODE1 and NODE2 (the agents'
// addresses), SERVER1 (a server's), HOST (the last that the host command named), and for kubectl get -o: LIVES (since
// when containers run) and IDENTITIES (which objects there are) of ALL kinds.
//
// The tests run one after the other (scripts of one cluster: side by side), never beside another e2e run of the same
// machine's make test, but beside other sandboxes. Sandboxes are named e2e-PID-N; a run first removes what a killed
// one left behind.
package e2e
