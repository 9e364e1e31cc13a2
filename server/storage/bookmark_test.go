package storage_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
	"github.com/holt-project/holt/server/storage"
	"github.com/holt-project/holt/server/storage/storagetest"
)

// A watch that has something to tell tells it once in every minute, and in between it rests.
func TestBookmarksComeOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := storagetest.NewState()
		s := storage.New(state, &memory{state: state}, 0)
		w, err := s.Watch(t.Context(), storage.Scope{Kind: kinds.Builtin().ByStore("pods")},
			storage.ListOptions{ResourceVersion: "1", AllowWatchBookmarks: true})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for i := range 3 {
			for _, name := range []string{"a", "b"} { // of another resource
				op := fsm.Op{Verb: fsm.Create, Resource: "nodes", Name: name + began.Add(time.Duration(i)).String()}
				if _, err := s.Propose(t.Context(), []fsm.Op{op}); err != nil {
					t.Fatal(err)
				}
			}
			events, err := w.Next(t.Context())
			if err != nil || len(events) != 1 || events[0].Type != storage.Bookmark || events[0].Revision != state.View().Revision() {
				t.Fatalf("%v, %v", events, err)
			}
			if took, want := time.Since(began), time.Duration(i+1)*time.Minute; took != want {
				t.Errorf("bookmark %d came after %v, want %v", i, took, want)
			}
		}
	})
}
