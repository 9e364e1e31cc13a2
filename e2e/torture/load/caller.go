package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/holt-project/holt/e2e/torture/history"
)

// Bounds of one call, and of the pause between two of one caller.
const (
	shortestCall = time.Second
	longestCall  = 8 * time.Second
	longestPause = 40 * time.Millisecond
	// failurePause keeps callers from hammering a server that is not there.
	failurePause = 100 * time.Millisecond
	finalTimeout = 30 * time.Second
)

// caller is one client of one server. It belongs to one goroutine.
type caller struct {
	load   *Load
	number int
	server string
	random *rand.Rand
	tokens int
	// known is what the caller last saw of each key of the era.
	known map[string]history.Object
	era   int
}

func (c *caller) loop(ctx context.Context) {
	for ctx.Err() == nil {
		call := c.choose()
		timeout := shortestCall + time.Duration(c.random.Int64N(int64(longestCall-shortestCall)))
		c.load.quiet.RLock()
		// A call that has begun is carried to its end: that of the run is no fault.
		c.carryOut(context.WithoutCancel(ctx), &call, timeout)
		c.load.quiet.RUnlock()
		c.load.calls.Add(1)
		c.learn(&call)
		wait := time.Duration(c.random.Int64N(int64(longestPause)))
		if call.Outcome == history.Failed || call.Outcome == history.Unknown {
			wait += failurePause
		}
		pause(ctx, wait)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// shares are how many of a hundred calls are of one sort.
var shares = []struct {
	share  int
	choose func(*caller, *history.Call)
}{
	{22, func(_ *caller, call *history.Call) { call.Verb = history.Get }},
	{4, func(_ *caller, call *history.Call) { call.Verb, call.Version = history.Get, "0" }},
	{4, (*caller).list},
	{20, (*caller).create},
	{22, (*caller).update},
	{14, (*caller).patch},
	{14, (*caller).delete},
}

// choose makes up the next call.
func (c *caller) choose() history.Call {
	if era := c.load.era(); era != c.era {
		c.era = era
		clear(c.known)
	}
	call := history.Call{Key: history.Key(c.era, c.random.IntN(keysPerEra))}
	dice := c.random.IntN(100)
	for _, s := range shares {
		if dice -= s.share; dice < 0 {
			s.choose(c, &call)
			break
		}
	}
	return call
}

// token is a value that no other write has.
func (c *caller) token() string {
	c.tokens++
	return fmt.Sprintf("%d.%d", c.number, c.tokens)
}

func (c *caller) half() string { return string("ab"[c.random.IntN(2)]) }

// list asks for everything seldom, as that grows over the run.
func (c *caller) list(call *history.Call) {
	key := call.Key
	call.Verb, call.Key, call.Scope.Era = history.List, "", history.Era(key)
	switch c.random.IntN(10) {
	case 0:
		call.Scope.Era = ""
	case 1, 2:
		call.Scope.Half = c.half()
	}
	switch c.random.IntN(5) {
	case 0:
		call.Version = "0"
	case 1:
		if seen := c.known[key].Revision; seen > 0 {
			call.Version = strconv.FormatUint(seen, 10)
			call.Match = []string{"", "NotOlderThan", "Exact"}[c.random.IntN(3)]
		}
	}
}

func (c *caller) create(call *history.Call) {
	call.Verb, call.Content = history.Create, history.Content{Value: c.token(), Half: c.half()}
}

// update has a precondition three times of four, if the caller has seen the object.
func (c *caller) update(call *history.Call) {
	call.Verb, call.Content = history.Update, history.Content{Value: c.token(), Half: c.half()}
	if c.random.IntN(4) > 0 {
		call.IfRevision = c.known[call.Key].Revision
	}
}

func (c *caller) patch(call *history.Call) {
	call.Verb, call.Content = history.Patch, history.Content{Patch: c.token()}
	if c.random.IntN(2) == 0 {
		call.Content.Half = c.half()
	}
}

func (c *caller) delete(call *history.Call) {
	call.Verb = history.Delete
	switch c.random.IntN(4) {
	case 0:
		call.IfRevision = c.known[call.Key].Revision
	case 1:
		call.IfUID = c.known[call.Key].UID
	}
}

// learn remembers what the answer shows, for preconditions.
func (c *caller) learn(call *history.Call) {
	for _, o := range call.Items {
		if history.Era(o.Key) == history.Era(history.Key(c.era, 0)) {
			c.known[o.Key] = o
		}
	}
	if call.Object != nil && call.Verb != history.Delete {
		c.known[call.Key] = *call.Object
	}
}
