// Package namespace empties a namespace that is being deleted and then lets it go.
//
// The plan for one terminating namespace asks for the deletion of everything in it. When nothing is left, the plan
// removes the namespace's own finalizer, and the namespace is gone. Objects that finalizers or graceful deletion hold
// keep it Terminating until they go; a condition says what is left.
//
// The package is pure: New returns a controller that holds no state.
package namespace
