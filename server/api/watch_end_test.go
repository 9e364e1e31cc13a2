package api_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
)

// A bookmark promises that everything up to it was sent, also when the watch's time is up at the moment at which
// something happens.
func TestTheLastBookmarkSkipsNothing(t *testing.T) {
	c := newCluster(t)
	c.fill()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", configMaps+"?watch=1&resourceVersion=5&allowWatchBookmarks=true", nil)
	c.handler().ServeHTTP(w, r.WithContext(over))
	told := w.Body.String()
	if mark := strings.Index(told, "BOOKMARK"); mark >= 0 && strings.Count(told[:mark], `"type":"`) < 3 {
		t.Errorf("a bookmark, and not all that was before it:\n%s", told)
	}
}
