package history

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Content is what writers put into an object. Two writes never make the same.
type Content struct {
	// Value is the token of the create or update, Patch that of the last patch since.
	Value string `json:"value,omitempty"`
	Patch string `json:"patch,omitempty"`
	// Half is a label that selectors choose by: a or b.
	Half string `json:"half,omitempty"`
}

// Token is the token of the write that made the content.
func (c Content) Token() string {
	if c.Patch != "" {
		return c.Patch
	}
	return c.Value
}

// Patched is the content after a patch, whose empty fields say nothing.
func (c Content) Patched(p Content) Content {
	c.Patch = p.Patch
	if p.Half != "" {
		c.Half = p.Half
	}
	return c
}

// Object is an object as somebody saw it.
type Object struct {
	Key      string  `json:"key"`
	UID      string  `json:"uid,omitempty"`
	Revision uint64  `json:"revision,omitempty"`
	Content  Content `json:"content"`
}

// Scope is what a list or a watch asks for; empty fields ask for everything.
type Scope struct {
	Half string `json:"half,omitempty"`
	Era  string `json:"era,omitempty"`
}

// Era is the part of a key before its number: keys are used for a while, all of an era together.
func Era(key string) string {
	if len(key) < eraLength {
		return key
	}
	return key[:eraLength]
}

const eraLength = len("e0000")

// Key names a key of an era.
func Key(era, number int) string { return fmt.Sprintf("e%04d-%d", era, number) }

// Has tells whether an object is in the scope.
func (s Scope) Has(key string, c Content) bool {
	return (s.Half == "" || s.Half == c.Half) && (s.Era == "" || s.Era == Era(key))
}

// Verbs of calls.
const (
	Get    = "get"
	List   = "list"
	Create = "create"
	Update = "update"
	Patch  = "patch"
	Delete = "delete"
)

// Outcome is what a client knows of its request.
type Outcome string

// Outcomes of calls.
const (
	Done     Outcome = "done"
	NotFound Outcome = "not found"
	Exists   Outcome = "exists"
	Conflict Outcome = "conflict"
	// Failed promises that nothing was changed, and tells nothing else.
	Failed Outcome = "failed"
	// Unknown means that it took effect, will, or never does.
	Unknown Outcome = "unknown"
)

// Call is one request and its answer.
type Call struct {
	Client int    `json:"client"`
	Server string `json:"server"`
	// Life counts the starts of the server; -1 if it was started again during the call.
	Life int    `json:"life"`
	Verb string `json:"verb"`
	Key  string `json:"key,omitempty"`
	// Scope is a list's.
	Scope Scope `json:"scope,omitzero"`
	// Version and Match are a read's resourceVersion and resourceVersionMatch.
	Version string `json:"version,omitempty"`
	Match   string `json:"match,omitempty"`
	// Content is what a write sends.
	Content Content `json:"content,omitzero"`
	// IfRevision and IfUID are a write's preconditions; 0 and "" for none.
	IfRevision uint64 `json:"ifRevision,omitempty"`
	IfUID      string `json:"ifUID,omitempty"`

	Begin   time.Duration `json:"begin"`
	End     time.Duration `json:"end"`
	Outcome Outcome       `json:"outcome"`
	// Object is what the answer shows; of a delete only the UID is known. Nil if it shows none.
	Object *Object `json:"object,omitempty"`
	// Revision and Items are a list's.
	Revision uint64   `json:"revision,omitempty"`
	Items    []Object `json:"items,omitempty"`
	Error    string   `json:"error,omitempty"`
}

// Writes tells whether the call wants to change something.
func (c *Call) Writes() bool { return c.Verb != Get && c.Verb != List }

// Linearizable tells whether a read asked for the newest state.
func (c *Call) Linearizable() bool { return !c.Writes() && c.Version == "" }

// Types of events.
const (
	Added    = "ADDED"
	Modified = "MODIFIED"
	Deleted  = "DELETED"
	Bookmark = "BOOKMARK"
)

// Event is one message of a watch.
type Event struct {
	Type   string `json:"type"`
	Server string `json:"server"`
	// Object is the changed one; of a bookmark only its revision is there.
	Object Object        `json:"object"`
	At     time.Duration `json:"at"`
}

// Run is what one watcher was told from one state on, without a gap as far as it knows: over any number of
// connections, each of which began where the one before had ended.
type Run struct {
	Watcher string `json:"watcher"`
	Scope   Scope  `json:"scope,omitzero"`
	// Start is the revision that the run begins behind.
	Start uint64 `json:"start"`
	// Initial is the state at Start, unless Blind: then the watcher has not asked for it.
	Initial []Object `json:"initial,omitempty"`
	Blind   bool     `json:"blind,omitempty"`
	Events  []Event  `json:"events,omitempty"`
	// Reached is the revision of the last event or bookmark, or Start.
	Reached uint64 `json:"reached"`
	// Connections counts the watches that the run consists of.
	Connections int `json:"connections"`
}

// History is one whole run.
type History struct {
	Seed uint64 `json:"seed"`
	// Start is the revision before the first call; the namespace was empty then. End is the one after the last.
	Start uint64 `json:"start"`
	End   uint64 `json:"end"`
	Calls []Call `json:"calls"`
	Runs  []Run  `json:"runs"`
}

// Write writes the history as JSON.
func (h *History) Write(file string) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

// Read reads what Write wrote.
func Read(file string) (*History, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	h := &History{}
	if err := json.Unmarshal(data, h); err != nil {
		return nil, fmt.Errorf("%s is no history: %w", file, err)
	}
	return h, nil
}
