package cron

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Schedule is when something is due.
type Schedule struct {
	// The values of each field that match, as bits.
	minutes, hours, days, months, weekdays uint64
	// anyDay says that one of the two fields of days is "*", so that the other one decides alone.
	anyDay bool
	// every, unless zero, is all there is.
	every time.Duration
}

// field is the values that may stand in one place of a schedule.
type field struct {
	min, max int
	names    []string // of the values from min on
}

var (
	minutes  = field{min: 0, max: 59}
	hours    = field{min: 0, max: 23}
	days     = field{min: 1, max: 31}
	months   = field{1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}}
	weekdays = field{0, 6, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}}
)

var shorthands = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

const everyPrefix = "@every "

// Parse reads a schedule. Its errors are those that users of Kubernetes know.
func Parse(text string) (*Schedule, error) {
	if text == "" {
		return nil, fmt.Errorf("empty spec string")
	}
	if interval, found := strings.CutPrefix(text, everyPrefix); found {
		return parseEvery(text, interval)
	}
	if strings.HasPrefix(text, "@") {
		long, known := shorthands[text]
		if !known {
			return nil, fmt.Errorf("unrecognized descriptor: %s", text)
		}
		text = long
	}
	parts := strings.Fields(text)
	if len(parts) != 5 {
		return nil, fmt.Errorf("expected exactly 5 fields, found %d: %s", len(parts), parts)
	}
	s := &Schedule{}
	var err error
	var anyDayOfMonth, anyWeekday bool
	for i, target := range []struct {
		field field
		bits  *uint64
		any   *bool
	}{
		{minutes, &s.minutes, new(bool)}, {hours, &s.hours, new(bool)}, {days, &s.days, &anyDayOfMonth},
		{months, &s.months, new(bool)}, {weekdays, &s.weekdays, &anyWeekday},
	} {
		if *target.bits, *target.any, err = target.field.parse(parts[i]); err != nil {
			return nil, err
		}
	}
	s.anyDay = anyDayOfMonth || anyWeekday
	return s, nil
}

func parseEvery(text, interval string) (*Schedule, error) {
	d, err := time.ParseDuration(interval)
	if err != nil {
		return nil, fmt.Errorf("failed to parse duration %s: %w", text, err)
	}
	return &Schedule{every: max(d.Truncate(time.Second), time.Second)}, nil
}

// parse reads a list of ranges. any reports whether a "*" without a step is among them.
func (f field) parse(text string) (bits uint64, any bool, err error) {
	for _, part := range strings.FieldsFunc(text, func(c rune) bool { return c == ',' }) {
		more, all, err := f.parseRange(part)
		if err != nil {
			return 0, false, err
		}
		bits, any = bits|more, any || all
	}
	return bits, any, nil
}

func (f field) parseRange(text string) (bits uint64, any bool, err error) {
	bounds, stepText, stepped := strings.Cut(text, "/")
	low, high, ranged := strings.Cut(bounds, "-")
	from, to, step := f.min, f.max, 1
	wild := low == "*" || low == "?"
	if !wild {
		if from, err = f.value(low); err != nil {
			return 0, false, err
		}
		switch {
		case strings.Contains(high, "-"):
			return 0, false, fmt.Errorf("too many hyphens: %s", text)
		case ranged:
			if to, err = f.value(high); err != nil {
				return 0, false, err
			}
		case !stepped: // "5/10" goes on from 5
			to = from
		}
	}
	if strings.Contains(stepText, "/") {
		return 0, false, fmt.Errorf("too many slashes: %s", text)
	}
	if stepped {
		if step, err = number(stepText); err != nil {
			return 0, false, err
		}
	}
	if err := f.check(from, to, step, text); err != nil {
		return 0, false, err
	}
	for i := from; i <= to; i += min(step, f.max+1) { // the step may be the largest number: to add it would overflow
		bits |= 1 << i
	}
	return bits, wild && step == 1, nil
}

func (f field) check(from, to, step int, text string) error {
	switch {
	case from < f.min:
		return fmt.Errorf("beginning of range (%d) below minimum (%d): %s", from, f.min, text)
	case to > f.max:
		return fmt.Errorf("end of range (%d) above maximum (%d): %s", to, f.max, text)
	case from > to:
		return fmt.Errorf("beginning of range (%d) beyond end of range (%d): %s", from, to, text)
	case step == 0:
		return fmt.Errorf("step of range should be a positive number: %s", text)
	}
	return nil
}

func (f field) value(text string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(text, name) {
			return f.min + i, nil
		}
	}
	return number(text)
}

func number(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("failed to parse int from %s: %w", text, err)
	}
	if n < 0 {
		return 0, fmt.Errorf("negative number (%d) not allowed: %s", n, text)
	}
	return n, nil
}
