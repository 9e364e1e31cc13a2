package gossip_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/holt-project/holt/internal/gossip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var key = bytes.Repeat([]byte{1}, 32)

const port = 27946

// address is one on the loopback that no other test has.
func address() string {
	id := uuid.New()
	return net.IPv4(127, 30+id[0]%60, id[1], 1+id[2]%250).String()
}

// member is a pool that runs.
type member struct {
	*gossip.Pool
	stop func()
}

func start(t *testing.T, name, address string, key []byte, known ...string) member {
	t.Helper()
	p, err := gossip.Start(gossip.Config{Name: name, Address: address, Port: port, Key: key}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx, func() []string { return known }) })
	stop := sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return member{p, stop}
}

// await waits for the condition, which only a change can bring about.
func (m member) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for {
		changed := m.Changed()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatalf("%s: never", what)
		}
	}
}

func TestPool(t *testing.T) {
	t.Parallel()
	a, b, c := address(), address(), address()
	const hole = "192.0.2.1" // answers nothing, and must hold nobody up
	one := start(t, "server/1", a, key, hole, a, b, net.JoinHostPort(c, strconv.Itoa(port)))
	if !one.Alive("server/1") || one.Alive("server/2") || one.Seen("server/2") {
		t.Error("a pool of one holds others than itself")
	}
	two := start(t, "server/2", b, key)
	three := start(t, "agent/3", c, key, a)
	for _, m := range []member{one, two, three} {
		for _, name := range []string{"server/1", "server/2", "agent/3"} {
			m.await(t, name+" joins", func() bool { return m.Alive(name) })
		}
	}
	two.stop()
	one.await(t, "a dead member is noticed", func() bool { return !one.Alive("server/2") })
	if !one.Seen("server/2") {
		t.Error("who has died was never seen")
	}
	start(t, "server/2", b, key) // it knows nobody: Run of the first finds it
	one.await(t, "a restarted member joins", func() bool { return one.Alive("server/2") })
	three.stop()
	one.await(t, "the next death is noticed", func() bool { return !one.Alive("agent/3") })
	start(t, "agent/3", address(), key, a)
	one.await(t, "a member comes back at another address", func() bool { return one.Alive("agent/3") })
}

func TestWrongKey(t *testing.T) {
	t.Parallel()
	a, b, c := address(), address(), address()
	one := start(t, "server/1", a, key, b, c)
	stranger := start(t, "server/2", b, bytes.Repeat([]byte{2}, 32), a)
	friend := start(t, "server/3", c, key, a)
	one.await(t, "a friend joins", func() bool { return one.Alive("server/3") })
	friend.await(t, "the friend knows", func() bool { return friend.Alive("server/1") })
	if one.Seen("server/2") || stranger.Seen("server/1") {
		t.Error("another key was accepted")
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	a := address()
	for name, key := range map[string][]byte{"no key": nil, "a short key": key[:16]} {
		if p, err := gossip.Start(gossip.Config{Name: "x", Address: a, Port: port, Key: key}, slog.New(slog.DiscardHandler)); err == nil {
			_ = p.Close()
			t.Errorf("%s was accepted", name)
		}
	}
	start(t, "x", a, key)
	if p, err := gossip.Start(gossip.Config{Name: "y", Address: a, Port: port, Key: key}, slog.New(slog.DiscardHandler)); err == nil {
		_ = p.Close()
		t.Error("one port was opened twice")
	}
}
