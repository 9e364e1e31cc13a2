package cron

import "time"

// horizon is how far ahead a due time is looked for: the 29th of February comes within eight years.
const horizon = 8

// Next returns the first due time after t, in t's location; the zero time if there is none, as for the 30th of February.
func (s *Schedule) Next(t time.Time) time.Time {
	if s.every > 0 {
		return t.Truncate(time.Second).Add(s.every)
	}
	end := t.AddDate(horizon, 0, 0)
	t = t.Truncate(time.Minute).Add(time.Minute)
	for t.Before(end) {
		year, month, day := t.Date()
		switch {
		case !has(s.months, int(month)):
			t = later(t, time.Date(year, month+1, 1, 0, 0, 0, 0, t.Location()))
		case !s.onDay(t):
			t = later(t, time.Date(year, month, day+1, 0, 0, 0, 0, t.Location()))
		case !has(s.hours, t.Hour()):
			t = t.Add(time.Hour - time.Duration(t.Minute())*time.Minute)
		case !has(s.minutes, t.Minute()):
			t = t.Add(time.Minute)
		default:
			return t
		}
	}
	return time.Time{}
}

// later makes sure of progress: at a change to summer time, a midnight that does not exist may be read as the hour before.
func later(t, next time.Time) time.Time {
	if next.After(t) {
		return next
	}
	return t.Add(time.Hour)
}

// onDay reports whether the day matches: both fields if one of them is "*", else any of them, as cron always did.
func (s *Schedule) onDay(t time.Time) bool {
	day, weekday := has(s.days, t.Day()), has(s.weekdays, int(t.Weekday()))
	if s.anyDay {
		return day && weekday
	}
	return day || weekday
}

func has(bits uint64, i int) bool { return bits&(1<<i) != 0 }
