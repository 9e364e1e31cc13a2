package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
)

// The paths of a Desk.
const (
	// PathSave answers GET with a file. The query plain=true leaves it unsealed.
	PathSave = "/holt/v1/snapshot"
	// PathRestore takes a file by POST, and answers with an Answer.
	PathRestore = "/holt/v1/snapshot/restore"
	// PathList answers GET with the scheduled files of this server, a list of Entry.
	PathList = "/holt/v1/snapshots"
)

const (
	// stall is how long a client may take for a part of a stream.
	stall = time.Minute
	// maxFile bounds what a client may send: what can be staged, and room for seals, frames and the header.
	maxFile = fsm.MaxStaged + fsm.MaxStaged/64 + 1<<20
	// headerForwarded marks what another server has sent on to the leader.
	headerForwarded = "X-Holt-Forwarded"
)

// Answer is what a restore has done.
type Answer struct {
	// Before is the cluster's revision before, Snapshot that of the file, and After the cluster's now.
	Before   uint64 `json:"before"`
	Snapshot uint64 `json:"snapshot"`
	After    uint64 `json:"after"`
	// Objects counts what was restored, Kept what stayed because it makes the cluster this one.
	Objects int `json:"objects"`
	Kept    int `json:"kept"`
}

// Desk serves files over HTTP. All of its fields are set; Schedule may be nil.
type Desk struct {
	Saver    *Saver
	Restorer *Restorer
	Schedule *Schedule
	// Leader returns the host:port of the leader's API, empty if there is none, and whether it is this server.
	Leader func() (name, address string, self bool)
	// Servers reaches other servers, with this server's certificate.
	Servers http.RoundTripper
	// Allow reports whether the request is an administrator's, or another server's on behalf of one.
	Allow func(*http.Request) bool
	Log   *slog.Logger
}

// Save answers with a file.
func (d *Desk) Save(w http.ResponseWriter, r *http.Request) {
	if !d.admit(w, r, http.MethodGet) {
		return
	}
	saved, err := d.Saver.Begin(r.Context(), r.URL.Query().Get("plain") == "true")
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	// A file that breaks off has no checksum at its end: the client notices.
	if err := saved.Write(&patient{w, http.NewResponseController(w)}); err != nil {
		d.Log.Warn("a snapshot was not sent to its end", "to", r.RemoteAddr, "error", err)
	}
}

// patient gives a client time for each part, and not for the whole.
type patient struct {
	w    io.Writer
	ctrl *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.ctrl.SetWriteDeadline(time.Now().Add(stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.w.Write(b)
}

// Restore takes a file and restores it, if this server leads; otherwise the leader does.
func (d *Desk) Restore(w http.ResponseWriter, r *http.Request) {
	if !d.admit(w, r, http.MethodPost) {
		return
	}
	ctrl := http.NewResponseController(w)
	body := &steady{r: http.MaxBytesReader(w, r.Body, maxFile), ctrl: ctrl}
	_, leader, self := d.Leader()
	switch {
	case self:
		d.restore(w, r, body)
	case leader == "" || r.Header.Get(headerForwarded) != "":
		refuse(w, consensus.ErrNotLeader)
	default:
		d.forward(w, r, leader, body)
	}
}

// steady gives a client time for each part, as patient does.
type steady struct {
	r     io.Reader
	ctrl  *http.ResponseController
	ended atomic.Bool // all of it was read
}

func (s *steady) Read(b []byte) (int, error) {
	if err := s.ctrl.SetReadDeadline(time.Now().Add(stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := s.r.Read(b)
	if errors.Is(err, io.EOF) {
		s.ended.Store(true)
	}
	return n, err
}

func (d *Desk) restore(w http.ResponseWriter, r *http.Request, file io.Reader) {
	d.Log.Warn("a snapshot is being restored", "from", r.RemoteAddr)
	done, err := d.Restorer.Restore(r.Context(), file)
	if err != nil {
		d.Log.Error("the snapshot was not restored", "error", err)
		refuse(w, err)
		return
	}
	d.Log.Warn("a snapshot was restored", "objects", done.Objects, "before", done.Before, "snapshot", done.Snapshot, "after", done.After)
	answer(w, http.StatusOK, Answer(done))
}

// forward hands the file to the leader as it comes in.
func (d *Desk) forward(w http.ResponseWriter, r *http.Request, leader string, file *steady) {
	out, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "https://"+leader+PathRestore, file)
	if err != nil {
		refuse(w, err)
		return
	}
	out.Header.Set(headerForwarded, "true")
	res, err := d.Servers.RoundTrip(out)
	if err != nil {
		lost := consensus.ErrNotLeader // before it had the whole file, which it does not restore then
		if file.ended.Load() {
			lost = consensus.ErrUnknownOutcome
		}
		refuse(w, fmt.Errorf("%w: the connection to the leader broke: %w", lost, err))
		return
	}
	defer res.Body.Close()
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(w, res.Body); err != nil {
		d.Log.Warn("the leader's answer about a restore broke off", "error", err)
	}
}

// List answers with the scheduled files.
func (d *Desk) List(w http.ResponseWriter, r *http.Request) {
	if !d.admit(w, r, http.MethodGet) {
		return
	}
	entries := []Entry{}
	if d.Schedule != nil {
		var err error
		if entries, err = d.Schedule.List(); err != nil {
			refuse(w, err)
			return
		}
	}
	answer(w, http.StatusOK, entries)
}

// admit refuses all but the method and administrators.
func (d *Desk) admit(w http.ResponseWriter, r *http.Request, method string) bool {
	switch {
	case r.Method != method:
		tell(w, status(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, "only "+method+" is possible here"))
	case !d.Allow(r):
		tell(w, status(http.StatusForbidden, metav1.StatusReasonForbidden, "only administrators (system:masters) save and restore snapshots"))
	default:
		return true
	}
	return false
}

func status(code int32, reason metav1.StatusReason, message string) apierrors.APIStatus {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Code: code, Reason: reason, Message: message,
	}}
}

// refuse answers with the Status that an error means.
func refuse(w http.ResponseWriter, err error) { tell(w, statusOf(err)) }

func tell(w http.ResponseWriter, s apierrors.APIStatus) { answer(w, int(s.Status().Code), s.Status()) }

func statusOf(err error) apierrors.APIStatus {
	var known apierrors.APIStatus
	var large *http.MaxBytesError
	code, reason := int32(http.StatusInternalServerError), metav1.StatusReasonInternalError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &large), errors.Is(err, fsm.ErrStagedTooLarge):
		code, reason = http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge
	case errors.Is(err, ErrBusy), errors.Is(err, fsm.ErrNotStaged):
		code, reason = http.StatusConflict, metav1.StatusReasonConflict
	case errors.Is(err, consensus.ErrUnknownOutcome), errors.Is(err, context.DeadlineExceeded):
		code, reason = http.StatusGatewayTimeout, metav1.StatusReasonTimeout
	case errors.Is(err, consensus.ErrNotLeader), errors.Is(err, consensus.ErrNoQuorum), errors.Is(err, consensus.ErrClosed),
		errors.Is(err, consensus.ErrOverloaded):
		code, reason = http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable
	case isUnfit(err):
		code, reason = http.StatusUnprocessableEntity, metav1.StatusReasonInvalid
	}
	return status(code, reason, err.Error())
}

// isUnfit reports whether it is the file that is to blame.
func isUnfit(err error) bool {
	for _, of := range []error{ErrNotBackup, ErrVersion, ErrDamaged, ErrSealed, ErrOtherRanges, ErrNewer, ErrUnsuitable} {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // a client that went away needs no answer
}
