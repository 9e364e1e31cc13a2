// Package ownership keeps metadata.managedFields: who set which field of an object. It is what server-side apply rests on.
//
//	create, update, patch -> Tracker.Update: the manager owns what it changed
//	apply                 -> Tracker.Apply: the applied fields are merged in, or conflict with their owners
//	scale                 -> Tracker.UpdateScale, ApplyScale: spec.replicas of the object behind it
//
// The rules are those of Kubernetes' own library (apimachinery's managedfields over structured-merge-diff); this package
// gives it the kinds, and the schema that says which lists are sets or have keys. That schema is client-go's. It comes
// as YAML, which takes a fifth of a second and 21 MB of garbage to read, so a compact form of it is embedded
// (schema.bin); a test compares the two, and writes the file anew when run with -update. It adds Scale, which client-go's
// leaves out.
//
// Invariants:
//
//   - An object is tracked from its creation on. One without managedFields stays so until the first apply, which
//     counts what is there as one manager's, "before-first-apply".
//   - A change that changes nothing leaves managedFields as they were, with their times.
//   - Fields that a client cannot set through a subresource, or through the object, are not owned by who sent them.
//
// Concurrency: a Tracker is safe for any number of goroutines. The schema is read at the first use, once.
package ownership
