package kinds

import (
	"fmt"
	"strconv"
	"strings"
)

// interval is the indexes from first to last, both included.
type interval struct{ first, last int32 }

type intervals []interval

func (all intervals) total() int32 {
	n := int32(0)
	for _, i := range all {
		n += i.last - i.first + 1
	}
	return n
}

// parseIndexes reads indexes below completions as a job's status has them: "1,3-5,7". On an error there are none.
func parseIndexes(text string, completions int32) (intervals, error) {
	if text == "" {
		return nil, nil
	}
	var all intervals
	for _, part := range strings.Split(text, ",") {
		i, err := parseInterval(part, completions)
		if err != nil {
			return nil, err
		}
		if n := len(all); n > 0 && all[n-1].last >= i.first {
			return nil, fmt.Errorf("non-increasing order, previous: %d, current: %d", all[n-1].last, i.first)
		}
		all = append(all, i)
	}
	return all, nil
}

func parseInterval(text string, completions int32) (interval, error) {
	low, high, ranged := strings.Cut(text, "-")
	if strings.Contains(high, "-") {
		return interval{}, fmt.Errorf("the fragment %q violates the requirement that an index interval can have at most two parts separated by '-'", text)
	}
	first, err := parseIndex(low, completions)
	if err != nil || !ranged {
		return interval{first, first}, err
	}
	last, err := parseIndex(high, completions)
	if err == nil && first >= last {
		err = fmt.Errorf("non-increasing order, previous: %d, current: %d", first, last)
	}
	return interval{first, last}, err
}

func parseIndex(text string, completions int32) (int32, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("cannot convert string to integer for index: %q", text)
	}
	if n >= int(completions) {
		return 0, fmt.Errorf("too large index: %q", text)
	}
	return int32(n), nil
}

// overlap returns an index that is in both, if there is one.
func overlap(a, b intervals) (int32, bool) {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].first <= b[0].last && b[0].first <= a[0].last:
			return max(a[0].first, b[0].first), true
		case a[0].first <= b[0].first:
			a = a[1:]
		default:
			b = b[1:]
		}
	}
	return 0, false
}
