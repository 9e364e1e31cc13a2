package pods

import (
	"math"
	"os"
	"strconv"
	"strings"
)

// lowestOOMScore finds the least OOM score that this process may give: an agent that runs in a container itself may
// not go below its own, and must not fail every pod that should.
func lowestOOMScore() int {
	const file, least = "/proc/self/oom_score_adj", -1000
	text, err := os.ReadFile(file)
	if err != nil {
		return least
	}
	own, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || own <= least {
		return least
	}
	if os.WriteFile(file, []byte(strconv.Itoa(own-1)), 0) != nil {
		return own
	}
	if os.WriteFile(file, text, 0) != nil {
		return own
	}
	return least
}

// ownCapabilities is the mask of what this process may pass on; all if that cannot be found out.
func ownCapabilities() uint64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return math.MaxUint64
	}
	mask := uint64(math.MaxUint64)
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if name != "CapPrm" && name != "CapBnd" {
			continue
		}
		if bits, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64); err == nil {
			mask &= bits
		}
	}
	return mask
}
