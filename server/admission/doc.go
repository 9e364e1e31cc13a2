// Package admission holds the steps that look at a write on the leader, between defaulting and validation: they may
// refuse it, or fill in what only the cluster's state can tell (a Service's address).
//
//	decode -> default -> prepare -> admission steps, in order -> validation -> proposal -> decided
//
// Invariants:
//
//   - A step changes only Attributes.Object, which is the request's own copy. View and Old are shared and immutable.
//   - A step that reserves something registers Attributes.OnDecided, and the API calls it exactly once for every
//     attempt, whatever became of it: refused, not proposed, committed, failed, or unknown.
//   - A refusal is an error that carries a Kubernetes Status (k8s.io/apimachinery/pkg/api/errors); any other error
//     is an internal one.
//
// Concurrency: a Step may be called by any number of goroutines at once.
package admission
