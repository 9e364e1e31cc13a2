// Package nstest gives tests network namespaces of their own: hosts and pods on one machine, joined by
// real links, with nothing to clean up.
//
// A namespace here has no name and no mount. It lives as long as its descriptor and the sockets in it, so
// a test that crashes leaves nothing behind, and tests of several packages never meet.
//
// All functions may be called from several goroutines at once. Only tests import this package.
package nstest
