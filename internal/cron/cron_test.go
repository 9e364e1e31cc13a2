package cron_test

import (
	"testing"
	"time"
	_ "time/tzdata" // the test must not hang on the machine's zones

	"github.com/holt-project/holt/internal/cron"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"* * * * *": "", "*/5 0-6,12 1 JAN-mar ?": "", "5/10 * * * sun": "", "@daily": "", "* * */9223372036854775807 * *": "", "@every 1h30m": "",
		"":              "empty spec string",
		"* * * *":       "expected exactly 5 fields, found 4: [* * * *]",
		"60 * * * *":    "end of range (60) above maximum (59): 60",
		"* * 0 * *":     "beginning of range (0) below minimum (1): 0",
		"5-3 * * * *":   "beginning of range (5) beyond end of range (3): 5-3",
		"1-2-3 * * * *": "too many hyphens: 1-2-3",
		"*/2/3 * * * *": "too many slashes: */2/3",
		"*/0 * * * *":   "step of range should be a positive number: */0",
		"*/-1 * * * *":  "negative number (-1) not allowed: -1",
		"x * * * *":     `failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax`,
		"@often":        "unrecognized descriptor: @often",
		"@every soon":   `failed to parse duration @every soon: time: invalid duration "soon"`,
	} {
		got := ""
		if _, err := cron.Parse(text); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestNext(t *testing.T) {
	for _, test := range []struct{ schedule, zone, from, want string }{
		{"* * * * *", "UTC", "2030-01-01T00:00:30Z", "2030-01-01T00:01:00Z"},
		{"*/15 9-17 * * 1-5", "UTC", "2030-01-04T17:45:00Z", "2030-01-07T09:00:00Z"},
		{"0 0 13 * 5", "UTC", "2030-01-01T00:00:00Z", "2030-01-04T00:00:00Z"},                           // either day
		{"0 0 13 * *", "UTC", "2030-01-01T00:00:00Z", "2030-01-13T00:00:00Z"},                           // one of them is not said
		{"0 0 */2 * 1", "UTC", "2030-01-01T00:00:00Z", "2030-01-03T00:00:00Z"},                          // a step says it
		{"0 0 29 2 *", "UTC", "2030-01-01T00:00:00Z", "2032-02-29T00:00:00Z"},                           // years ahead
		{"0 0 30 2 *", "UTC", "2030-01-01T00:00:00Z", "0001-01-01T00:00:00Z"},                           // never
		{"@every 90s", "UTC", "2030-01-01T00:00:00.5Z", "2030-01-01T00:01:30Z"},                         // from now, in whole seconds
		{"30 2 * * *", "Europe/Berlin", "2030-03-31T00:00:00+01:00", "2030-04-01T02:30:00+02:00"},       // the hour does not exist
		{"0 1 * * *", "America/Sao_Paulo", "2017-10-14T12:00:00-03:00", "2017-10-15T01:00:00-02:00"},    // nor does midnight
		{"0 0 * * *", "America/Sao_Paulo", "2017-10-14T12:00:00-03:00", "2017-10-16T00:00:00-02:00"},    // so it is left out
		{"0 12 * * *", "America/Los_Angeles", "2030-01-01T12:00:00-08:00", "2030-01-02T12:00:00-08:00"}, // after, not at
	} {
		zone, err := time.LoadLocation(test.zone)
		if err != nil {
			t.Fatal(err)
		}
		from, err := time.Parse(time.RFC3339Nano, test.from)
		if err != nil {
			t.Fatal(err)
		}
		s, err := cron.Parse(test.schedule)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Next(from.In(zone)).Format(time.RFC3339); got != test.want {
			t.Errorf("%q after %s: %s, want %s", test.schedule, test.from, got, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"*/5 0-6,12 1 JAN-mar ?", "@weekly", "@every 1s", "5/1,9-59/7 * * * *", "-/,"} {
		f.Add(text)
	}
	from := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := cron.Parse(text)
		if err != nil {
			return
		}
		if next := s.Next(from); !next.IsZero() && !next.After(from) {
			t.Errorf("%q is due at %s, not after %s", text, next, from)
		}
	})
}
