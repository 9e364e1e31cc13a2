package work

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// maxEvent bounds an event, in bytes.
const maxEvent = 64 << 10

// errStopped is why watches end that were stopped.
var errStopped = errors.New("the watches were stopped")

// Watches are many of one collection.
type Watches struct {
	ctx context.Context
	end context.CancelCauseFunc
	wg  sync.WaitGroup
}

// Watch opens count watches of a collection from now on, spread over the clients. Each calls added with its own number
// and the number of every object that is added, from a goroutine of its own. Its caller calls Stop.
func Watch(ctx context.Context, clients []*Client, o Objects, count int, added func(watch int, n int64)) (*Watches, error) {
	revision, err := Revision(ctx, clients[0], o)
	if err != nil {
		return nil, err
	}
	w := &Watches{}
	w.ctx, w.end = context.WithCancelCause(ctx)
	r := Request{Method: http.MethodGet, Path: o.Path, Query: "watch=1&resourceVersion=" + revision}
	for i := range count {
		body, err := clients[i%len(clients)].Open(w.ctx, r)
		if err != nil {
			_ = w.Stop() // the failure to open says more
			return nil, err
		}
		w.wg.Go(func() {
			err := read(body, o.Prefix, func(n int64) { added(i, n) })
			_ = body.Close() // it was read as far as it went
			w.end(fmt.Errorf("watch %d: %w", i, err))
		})
	}
	return w, nil
}

// Stop ends the watches, and returns an error if one of them ended before.
func (w *Watches) Stop() error {
	w.end(errStopped)
	w.wg.Wait()
	if err := context.Cause(w.ctx); !errors.Is(err, errStopped) {
		return err
	}
	return nil
}

// Context ends with the first watch that ends.
func (w *Watches) Context() context.Context { return w.ctx }

var (
	addedEvent = []byte(`{"type":"ADDED"`)
	nameField  = []byte(`"name":"`)
)

// read calls added for each event of an object that was added and whose name has the prefix, until the stream ends.
// Events end with a line feed, which cannot be within one.
func read(stream io.Reader, prefix string, added func(n int64)) error {
	lines := bufio.NewReaderSize(stream, maxEvent)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(line, addedEvent) {
			return fmt.Errorf("unexpected event: %.300s", line)
		}
		n, ok, err := number(line, prefix)
		if err != nil {
			return err
		}
		if ok {
			added(n)
		}
	}
}

// number is that of the object in an event; ok is false if it is none of those with the prefix. Both sides write an
// object's name before any other field of that name.
func number(event []byte, prefix string) (n int64, ok bool, err error) {
	_, rest, found := bytes.Cut(event, nameField)
	if !found {
		return 0, false, fmt.Errorf("event without a name: %.300s", event)
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(prefix)); !ok {
		return 0, false, nil
	}
	for _, digit := range rest {
		if digit == '"' {
			return n, true, nil
		}
		if digit < '0' || digit > '9' {
			break
		}
		n = n*10 + int64(digit-'0')
	}
	return 0, false, errors.New("event of a name without a number")
}
