package disk_test

import (
	"testing"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/server/consensus/disk"
)

// TestCommandOfAnotherType: a command that says that it is none would not be applied.
func TestCommandOfAnotherType(t *testing.T) {
	for _, other := range []raft.LogType{raft.LogNoop, raft.LogBarrier, raft.LogConfiguration} {
		l := disk.Entry([]byte("a command"))
		l.Type = other
		if err := disk.Check(&l); err == nil {
			t.Errorf("a command was taken for a %v", other)
		}
	}
}
