package backup_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/backup"
)

func TestRestore(t *testing.T) {
	ring := newRing(t)
	from := newCluster(t, many(60000)...) // several pieces
	data := save(t, from, ring)
	c := newCluster(t, "kept", "gone")
	pieces := 0
	c.each = func() { pieces++ }
	keep := []fsm.Selection{{Resource: "configmaps", Namespace: "default", Name: "kept"}}
	done, err := backup.NewRestorer(c, holding(ring), here, keep).Restore(t.Context(), bytes.NewReader(data))
	want := fsm.Replaced{Before: 2, Snapshot: 60000, After: 120000, Objects: 60000, Kept: 1}
	if err != nil || done != want || pieces < 3 {
		t.Errorf("%+v in %d pieces, %v", done, pieces, err)
	}
	if c.View().Len() != 60001 || c.View().Staged() != "" {
		t.Errorf("%d objects, staged %q", c.View().Len(), c.View().Staged())
	}
}

func TestRefusedRestoresChangeNothing(t *testing.T) {
	ring, lost := newRing(t), errors.New("lost")
	from := newCluster(t, many(2000)...)
	good := save(t, from, ring)
	changed := func(change func(*backup.Header)) []byte {
		h := here
		change(&h)
		return saveAs(t, from, ring, h)
	}
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1] ^= 1 // known at the very end only
	var foreign bytes.Buffer
	if err := backup.Write(&foreign, here, ring, text("no state at all")); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		data []byte
		ring seal.Ring
		lost error
		want error
	}{
		"no file":            {[]byte("x"), ring, nil, backup.ErrNotBackup},
		"damaged":            {damaged, ring, nil, backup.ErrDamaged},
		"cut short":          {good[:len(good)-40], ring, nil, backup.ErrDamaged},
		"another's seal":     {good, newRing(t), nil, backup.ErrSealed},
		"no state":           {foreign.Bytes(), ring, nil, backup.ErrUnsuitable},
		"other pods":         {changed(func(h *backup.Header) { h.ClusterCIDR = "10.0.0.0/8" }), ring, nil, backup.ErrOtherRanges},
		"other services":     {changed(func(h *backup.Header) { h.ServiceCIDR = "" }), ring, nil, backup.ErrOtherRanges},
		"a newer Kubernetes": {changed(func(h *backup.Header) { h.Kubernetes = "v1.38.0" }), ring, nil, backup.ErrNewer},
		"a newer major":      {changed(func(h *backup.Header) { h.Kubernetes = "v2.0.0" }), ring, nil, backup.ErrNewer},
		"no Kubernetes":      {changed(func(h *backup.Header) { h.Kubernetes = "" }), ring, nil, backup.ErrDamaged},
		"no quorum":          {good, ring, lost, lost},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "mine")
			c.lost.set(test.lost)
			_, err := backup.NewRestorer(c, holding(test.ring), here, nil).Restore(t.Context(), bytes.NewReader(test.data))
			if !errors.Is(err, test.want) || c.names() != "mine " || c.View().Staged() != "" {
				t.Errorf("%v, want %v; there is %s, staged %q", err, test.want, c.names(), c.View().Staged())
			}
		})
	}
	older := changed(func(h *backup.Header) { h.Kubernetes, h.Holt, h.Cluster = "v1.36.9", "old", "other" })
	c := newCluster(t, "mine")
	if _, err := backup.NewRestorer(c, holding(ring), here, nil).Restore(t.Context(), bytes.NewReader(older)); err != nil {
		t.Errorf("an older one of another cluster: %v", err)
	}
}

// text is a body that is no state.
type text string

func (s text) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(s))
	return int64(n), err
}

func TestOneRestoreAtATime(t *testing.T) {
	data := save(t, newCluster(t, "a"), seal.Ring{})
	c := newCluster(t, "mine")
	r := backup.NewRestorer(c, holding(seal.Ring{}), here, nil)
	var second error
	c.each = func() {
		c.each = nil
		_, second = r.Restore(t.Context(), bytes.NewReader(data))
	}
	if _, err := r.Restore(t.Context(), bytes.NewReader(data)); err != nil || !errors.Is(second, backup.ErrBusy) {
		t.Errorf("%v, and the second: %v", err, second)
	}
}

// TestAnInterruptedRestoreIsDropped: whether its client goes away or another leader has begun to clean up.
func TestAnInterruptedRestoreIsDropped(t *testing.T) {
	data := save(t, newCluster(t, many(60000)...), seal.Ring{})
	ctx, cancel := context.WithCancel(t.Context())
	c := newCluster(t, "mine")
	pieces := 0
	c.each = func() {
		if pieces++; pieces == 2 {
			cancel()
		}
	}
	r := backup.NewRestorer(c, holding(seal.Ring{}), here, nil)
	if _, err := r.Restore(ctx, bytes.NewReader(data)); !errors.Is(err, context.Canceled) || c.View().Staged() != "" {
		t.Errorf("%v, staged %q", err, c.View().Staged())
	}
	pieces = 0
	c.each = func() {
		if pieces++; pieces == 2 {
			c.each = nil
			if err := r.Drop(t.Context(), c.View().Staged()); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := r.Restore(t.Context(), bytes.NewReader(data)); !errors.Is(err, fsm.ErrNotStaged) || c.names() != "mine " {
		t.Errorf("%v, there is %s", err, c.names())
	}
	if index := c.View().Index(); r.Drop(t.Context(), "") != nil || c.View().Index() != index {
		t.Error("there was nothing to drop, and yet an entry")
	}
}
