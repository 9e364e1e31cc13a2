package streams

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// options are those of PodLogOptions that a node serves.
type options struct {
	follow, previous, timestamps bool
	since                        time.Time // zero for all
	tail                         int64     // lines; negative for all
	limit                        int64     // bytes; negative for all
}

// parseOptions reads a query; its errors are BadRequest.
func parseOptions(q url.Values, now time.Time) (options, error) {
	o := options{tail: -1, limit: -1}
	for name, to := range map[string]*bool{"follow": &o.follow, "previous": &o.previous, "timestamps": &o.timestamps} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		value, err := strconv.ParseBool(text)
		if err != nil {
			return o, bad("%s=%q: want true or false", name, text)
		}
		*to = value
	}
	seconds := int64(-1)
	for name, n := range map[string]struct {
		to    *int64
		least int64
	}{"tailLines": {&o.tail, 0}, "limitBytes": {&o.limit, 1}, "sinceSeconds": {&seconds, 1}} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil || value < n.least {
			return o, bad("%s=%q: want a whole number, %d or more", name, text, n.least)
		}
		*n.to = value
	}
	if seconds > 0 {
		o.since = now.Add(-time.Duration(min(seconds, 1<<32)) * time.Second)
	}
	if text := q.Get("sinceTime"); text != "" {
		if seconds > 0 {
			return o, bad("sinceSeconds and sinceTime exclude each other")
		}
		var err error
		if o.since, err = time.Parse(time.RFC3339, text); err != nil {
			return o, bad("sinceTime=%q: want a time as in RFC 3339", text)
		}
	}
	return o, nil
}

func bad(format string, args ...any) error {
	return apierrors.NewBadRequest(fmt.Sprintf(format, args...))
}
