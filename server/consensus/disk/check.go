package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/fsm"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(data []byte) []byte {
	return binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli))
}

// Entry makes the entry of a command, with the checksum that goes with it from the leader on.
func Entry(command []byte) raft.Log { return raft.Log{Data: command, Extensions: checksum(command)} }

// Check tells whether an entry is what its leader made.
func Check(l *raft.Log) error {
	if l.Type != raft.LogCommand {
		if len(l.Extensions) > 0 {
			return fmt.Errorf("entry %d has a command's checksum, but says that it is a %v", l.Index, l.Type)
		}
		return nil
	}
	if string(l.Extensions) != string(checksum(l.Data)) {
		return fmt.Errorf("entry %d does not have its checksum", l.Index)
	}
	if err := fsm.CheckCommand(l.Data); err != nil {
		return fmt.Errorf("entry %d: %w", l.Index, err)
	}
	return nil
}

// Verify reads the whole log: every entry must be there, in order, and what its leader made. It fails with ErrDamaged or
// ErrMissingKey.
func Verify(log raft.LogStore) (err error) {
	defer RecoverDamage(&err)
	first, err := log.FirstIndex()
	if err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	last, err := log.LastIndex()
	if err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	var term uint64
	for i := first; i <= last && last > 0; i++ {
		var l raft.Log
		if err := log.GetLog(i, &l); errors.Is(err, ErrMissingKey) || errors.Is(err, ErrDamaged) {
			return err
		} else if err != nil {
			return fmt.Errorf("%w: entry %d: %v", ErrDamaged, i, err)
		}
		if l.Index != i || l.Term < term {
			return fmt.Errorf("%w: entry %d says that it is %d of term %d", ErrDamaged, i, l.Index, l.Term)
		}
		term = l.Term
		if err := Check(&l); err != nil {
			return fmt.Errorf("%w: %v", ErrDamaged, err)
		}
	}
	return nil
}
