//go:build seededbugs

package bugs

import "fmt"

// enabled is the bug that this process has. Enable sets it before anything that could ask.
var enabled Bug

// On tells whether this process has the bug.
func On(b Bug) bool {
	return enabled == b || enabled == LibraryAlone && NoCommitClamp <= b && b <= OldLogKept
}

// Enable gives this process one bug, for good. An empty name stands for none.
func Enable(name string) error {
	if name == "" {
		return nil
	}
	for _, known := range All {
		if known.Name == name {
			enabled = known.Bug
			return nil
		}
	}
	return fmt.Errorf("there is no bug %q", name)
}
