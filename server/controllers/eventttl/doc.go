// Package eventttl deletes Events an hour after they were seen last, as Kubernetes does by default.
//
// The package is pure: New returns a controller that holds no state.
package eventttl
