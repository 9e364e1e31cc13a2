// Command whoami is the example application: a small HTTP server that says which pod answered and whom it saw.
//
//	GET /           pod=NAME addr=ADDRESS client=ADDRESS version=VERSION
//	GET /version    VERSION, from the environment
//	GET /healthz    ok, or 503 once it was asked to end
//	GET /slow?ms=N  the same as / after N milliseconds, at most a minute
//
// On SIGTERM it goes on serving for the time of -drain, so that whoever still sends to it learns that it ends; then
// it stops accepting, finishes the requests in flight and exits with 0.
package main
