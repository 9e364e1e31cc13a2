package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/holt-project/holt/fsm"
)

// continueToken says where the next page of a list begins. It is opaque to clients, and checked when it comes back.
type continueToken struct {
	Version   int    `json:"v"`
	Revision  uint64 `json:"rv"`
	Namespace string `json:"ns,omitempty"`
	Name      string `json:"n"`
}

func continueAfter(rev uint64, last fsm.Key) (string, error) {
	data, err := json.Marshal(continueToken{1, rev, last.Namespace, last.Name})
	if err != nil {
		return "", fmt.Errorf("encode the token of the next page: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(data), nil
}

func parseContinue(token string) (continueToken, error) {
	var t continueToken
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(data, &t)
	}
	if err != nil || t.Version != 1 || t.Revision == 0 || t.Name == "" {
		return t, badRequest("continue key is not valid: use the value of metadata.continue of the last answer, unchanged")
	}
	return t, nil
}

// Bounds on what lists in progress keep alive.
const (
	maxPageViews = 64
	pageViewLife = 5 * time.Minute
)

// pageViews keeps the states that unfinished lists started from, so that all pages of a list share one revision. A
// view costs only what changed since.
type pageViews struct {
	now func() time.Time

	mu    sync.Mutex
	views []keptView // oldest use first; guarded by mu
}

type keptView struct {
	view fsm.View
	used time.Time
}

func newPageViews(now func() time.Time) *pageViews { return &pageViews{now: now} }

// keep holds v for the next page.
func (p *pageViews) keep(v fsm.View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(v.Revision())
	p.views = append(p.views, keptView{v, p.now()})
}

// get returns the view at revision rev, if it is kept.
func (p *pageViews) get(rev uint64) (fsm.View, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(0)
	for _, k := range p.views {
		if k.view.Revision() == rev {
			return k.view, true
		}
	}
	return fsm.View{}, false
}

// drop forgets what is old, the one at revision rev, and the least recently used beyond the bound. The caller holds mu.
func (p *pageViews) drop(rev uint64) {
	oldest := p.now().Add(-pageViewLife)
	kept := p.views[:0]
	for _, k := range p.views {
		if k.used.After(oldest) && k.view.Revision() != rev {
			kept = append(kept, k)
		}
	}
	clear(p.views[len(kept):])
	if len(kept) >= maxPageViews {
		kept = append(kept[:0], kept[len(kept)-maxPageViews+1:]...)
	}
	p.views = kept
}
