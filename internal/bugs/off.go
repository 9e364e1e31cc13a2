//go:build !seededbugs

package bugs

// On is false: this build has no bugs on purpose.
func On(Bug) bool { return false }
