package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// The pause before a broken watch is tried again grows from the first to the second.
const (
	minRetry = 100 * time.Millisecond
	maxRetry = 3 * time.Second
)

// pointer is the pointer type of an API type.
type pointer[T any] interface {
	*T
	Object
}

// Cache is a local copy of a collection, kept by list and watch.
type Cache[T any, P pointer[T]] struct {
	client   *Client
	resource schema.GroupVersionResource
	field    string
	changed  func()
	log      *slog.Logger

	synced chan struct{} // closed after the first list

	mu       sync.RWMutex
	items    map[types.NamespacedName]P
	revision string // up to which items is current; empty to list again; only Run uses it
	newest   uint64 // the newest revision that was seen; only Run uses it
}

// NewCache makes a cache of the resource's objects that match the field selector (empty for all). changed is called
// after every change, from the goroutine of Run; it must not block.
func NewCache[T any, P pointer[T]](c *Client, r schema.GroupVersionResource, fieldSelector string, changed func(),
	log *slog.Logger) *Cache[T, P] {
	return &Cache[T, P]{client: c, resource: r, field: fieldSelector, changed: changed, log: log,
		synced: make(chan struct{}), items: map[types.NamespacedName]P{}}
}

// Synced is closed once the cache holds a whole list.
func (c *Cache[T, P]) Synced() <-chan struct{} { return c.synced }

// List returns the objects in no particular order.
func (c *Cache[T, P]) List() []P {
	c.mu.RLock()
	defer c.mu.RUnlock()
	all := make([]P, 0, len(c.items))
	for _, o := range c.items {
		all = append(all, o)
	}
	return all
}

// Get returns one object, or nil.
func (c *Cache[T, P]) Get(namespace, name string) P {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.items[types.NamespacedName{Namespace: namespace, Name: name}]
}

// Run keeps the cache until ctx ends.
func (c *Cache[T, P]) Run(ctx context.Context) {
	pause := minRetry
	for ctx.Err() == nil {
		progress, err := c.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if progress {
			pause = minRetry
		}
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			c.revision = "" // list again
		}
		level := slog.LevelWarn
		if errors.Is(err, io.EOF) {
			level = slog.LevelDebug // servers end watches that are old
		}
		c.log.Log(ctx, level, "watch ended; it is resumed", "resource", c.resource.Resource, "error", err)
		wait(ctx, pause/2+rand.N(pause))
		pause = min(2*pause, maxRetry)
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// follow lists if need be and watches until the watch ends, which is an error. progress tells whether the watch told
// anything.
func (c *Cache[T, P]) follow(ctx context.Context) (progress bool, err error) {
	if c.revision == "" {
		if err := c.list(ctx); err != nil {
			return false, err
		}
	}
	q := url.Values{"watch": {"1"}, "resourceVersion": {c.revision}, "allowWatchBookmarks": {"true"}}
	c.selectFields(q)
	body, err := c.client.Stream(ctx, Request{Method: http.MethodGet, Path: Path(c.resource, "", "", ""), Query: q.Encode()})
	if err != nil {
		return progress, err
	}
	defer body.Close()
	in := &bounded{r: body}
	for dec := json.NewDecoder(in); ; progress = true {
		in.left = maxEvent
		var e struct {
			Type   string
			Object json.RawMessage
		}
		if err := dec.Decode(&e); err != nil {
			return progress, fmt.Errorf("watch: %w", err)
		}
		if err := c.apply(e.Type, e.Object); err != nil {
			return progress, err
		}
	}
}

func (c *Cache[T, P]) selectFields(q url.Values) {
	if c.field != "" {
		q.Set("fieldSelector", c.field)
	}
}

func (c *Cache[T, P]) list(ctx context.Context) error {
	q := url.Values{}
	c.selectFields(q)
	var l struct {
		metav1.ListMeta `json:"metadata"`
		Items           []P
	}
	r := Request{Method: http.MethodGet, Path: Path(c.resource, "", "", ""), Query: q.Encode()}
	if err := c.client.Do(ctx, r, &l); err != nil {
		return err
	}
	revision, err := strconv.ParseUint(l.ResourceVersion, 10, 64)
	if err != nil {
		return fmt.Errorf("list %s: the answer is no list", c.resource.Resource)
	}
	if revision < c.newest {
		return fmt.Errorf("list %s: the server is at revision %d, behind %d", c.resource.Resource, revision, c.newest)
	}
	items := make(map[types.NamespacedName]P, len(l.Items))
	for _, o := range l.Items {
		if o == nil {
			return fmt.Errorf("list %s: an item is missing", c.resource.Resource)
		}
		items[nameOf(o)] = o
	}
	c.mu.Lock()
	c.items = items
	c.mu.Unlock()
	c.revision, c.newest = l.ResourceVersion, revision
	select {
	case <-c.synced:
	default:
		close(c.synced)
	}
	c.changed()
	return nil
}

func (c *Cache[T, P]) apply(kind string, raw json.RawMessage) error {
	if kind == "ERROR" {
		var s metav1.Status
		if err := json.Unmarshal(raw, &s); err != nil {
			return errors.New("watch: the server reports an error that cannot be read")
		}
		return apierrors.FromObject(&s)
	}
	o := P(new(T))
	if err := json.Unmarshal(raw, o); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	revision, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil || kind != "BOOKMARK" && o.GetName() == "" || !slices.Contains(kindsOfEvents, kind) {
		return errors.New("watch: the server sends what is no event")
	}
	c.revision, c.newest = o.GetResourceVersion(), max(c.newest, revision)
	if kind == "BOOKMARK" {
		return nil
	}
	c.mu.Lock()
	if kind == "DELETED" {
		delete(c.items, nameOf(o))
	} else {
		c.items[nameOf(o)] = o
	}
	c.mu.Unlock()
	c.changed()
	return nil
}

// kindsOfEvents are those that carry an object.
var kindsOfEvents = []string{"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}

// maxEvent bounds one event of a watch, in bytes.
const maxEvent = 16 << 20

// bounded reads no more than left bytes.
type bounded struct {
	r    io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("an event is longer than %d bytes", maxEvent)
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func nameOf(o Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}
