package history_test

import (
	"testing"

	"github.com/holt-project/holt/e2e/torture/history"
)

// A call knows which life of its server answered it; one during which the server was started again knows none.
func TestLives(t *testing.T) {
	r := history.NewRecorder()
	call := history.Call{Server: "a"}
	r.Begin(&call)
	r.End(call)
	r.Started("a")
	r.Begin(&call)
	r.Started("b")
	r.End(call)
	r.Begin(&call)
	r.Started("a")
	r.End(call)
	h := r.History()
	for i, want := range []int{0, 1, -1} {
		if c := h.Calls[i]; c.Life != want || c.End < c.Begin || i > 0 && c.Begin < h.Calls[i-1].End {
			t.Errorf("call %d: %+v, want life %d", i, c, want)
		}
	}
}

func TestContent(t *testing.T) {
	made := history.Content{Value: "v", Half: "a"}
	patched := made.Patched(history.Content{Patch: "p"})
	if want := (history.Content{Value: "v", Patch: "p", Half: "a"}); patched != want || patched.Token() != "p" || made.Token() != "v" {
		t.Errorf("%+v", patched)
	}
	if moved := made.Patched(history.Content{Patch: "p", Half: "b"}); moved.Half != "b" {
		t.Errorf("%+v", moved)
	}
	key := history.Key(12, 3)
	for scope, want := range map[history.Scope]bool{
		{}: true, {Half: "a"}: true, {Half: "b"}: false, {Era: history.Era(key)}: true, {Era: history.Era(history.Key(13, 3))}: false,
	} {
		if scope.Has(key, made) != want {
			t.Errorf("%+v", scope)
		}
	}
}
