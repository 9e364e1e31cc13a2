package backup

import (
	"errors"
	"fmt"
	"io"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/seal"
)

// Report is what a look at a file has found.
type Report struct {
	Header
	// Opened says that the ring opened the file, and that Usage was counted.
	Opened bool `json:"opened"`
	// Usage is what each resource takes.
	Usage map[string]fsm.Usage `json:"usage,omitempty"`
}

// Inspect reads a whole file. It always checks the checksum; if the body is plain or the ring can open it, it checks
// everything in it too. It needs memory for one object at a time.
func Inspect(r io.Reader, ring seal.Ring) (Report, error) {
	f, err := Open(r)
	if err != nil {
		return Report{}, err
	}
	report := Report{Header: f.Header}
	if f.Key != "" && ring.Primary() == "" {
		return report, f.Verify()
	}
	body, err := f.Body(ring)
	if err != nil {
		return report, err
	}
	found, err := fsm.ReadContents(body)
	if err == nil {
		_, err = io.Copy(io.Discard, body) // to the checksum
	}
	if errors.Is(err, fsm.ErrBadSnapshot) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return report, err
	}
	if found.Revision != f.Revision || found.Index != f.Index || found.Objects != f.Objects || found.Digest != f.Digest {
		return report, fmt.Errorf("%w: its header speaks of another state than it holds", ErrDamaged)
	}
	report.Opened, report.Usage = true, found.Usage
	return report, nil
}
