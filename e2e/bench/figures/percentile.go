package figures

import (
	"cmp"
	"slices"
)

// Percentile is the p-th by nearest rank, p from 1 to 100; of no values it is zero. The values are sorted in place.
func Percentile[T cmp.Ordered](values []T, p int) T {
	if len(values) == 0 {
		var zero T
		return zero
	}
	slices.Sort(values)
	rank := (len(values)*p + 99) / 100
	return values[max(rank, 1)-1]
}
