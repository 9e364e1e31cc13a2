package cli

import (
	"syscall"
	"testing"
)

// asNobody runs f with another effective user in the whole process. No test of this package runs in parallel.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	const nobody = 65534
	if err := syscall.Seteuid(nobody); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Seteuid(0); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}
