package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/holt-project/holt/fsm"
)

// A write may be tried at several leaders, because one dies before it answers, and is applied once. Its ID, made by the
// server that took it in, travels with every attempt and stands in the op; fsm applies no ID twice. Why that is enough:
//
//   - An entry of an old leader is either before the new leader's first one, or never committed. The second attempt
//     looks after Linearize, and so sees the outcome of everything that old leaders can have committed.
//   - The first attempt's handler may live on: on the same leader, if only the connection broke, or on one that lost
//     and regained its leadership meanwhile. What it proposes has the same ID. So whichever proposal comes first in the
//     log wins, and the other gets its outcome.
//   - It could still propose what the second attempt refused (a precondition failed) or found done without a proposal.
//     So a repeated write spends its ID before it is answered: an op that is void takes its place in the log.
//   - An ID that is so old that fsm may have forgotten it is not applied; fsm tells by the position in the log from
//     before the first attempt.
//
// A deletecollection is many writes and has no ID. To repeat it deletes nothing that a single one would not: each delete
// names the UID of an object that matched while the request was under way. Its answer lists what the last attempt did.

// headerAttempt carries an attempt from the server that took the write in to the leader.
const headerAttempt = "X-Holt-Attempt"

// attempt is one try of a write. The zero value is that of a write without an ID.
type attempt struct {
	request fsm.Request
	// repeated says that an earlier attempt was lost: it may have been applied, or may be yet.
	repeated bool
	// spent says that the log has decided what became of the ID.
	spent bool
}

// newAttempt begins the write of a request. index is a position in the log that the server has applied.
func newAttempt(index uint64) attempt {
	a := attempt{request: fsm.Request{Since: index}}
	_, _ = rand.Read(a.request.ID[:]) // never fails, as its documentation says
	return a
}

func (a attempt) header() string {
	return fmt.Sprintf("%x %d %t", a.request.ID[:], a.request.Since, a.repeated)
}

func parseAttempt(header string) (attempt, error) {
	var a attempt
	fields := strings.Fields(header)
	if len(fields) != 3 {
		return a, badRequest("%s %q does not have three fields", headerAttempt, header)
	}
	id, err := hex.DecodeString(fields[0])
	if err == nil && len(id) != len(a.request.ID) {
		err = hex.ErrLength
	}
	if err == nil {
		copy(a.request.ID[:], id)
		a.request.Since, err = strconv.ParseUint(fields[1], 10, 64)
	}
	if err == nil {
		a.repeated, err = strconv.ParseBool(fields[2])
	}
	if err != nil {
		return attempt{}, badRequest("%s %q: %v", headerAttempt, header, err)
	}
	return a, nil
}

func (a attempt) named() bool { return a.request.ID != fsm.RequestID{} }

// never reports whether err says that the request was not, and by this ID never will be, carried out: it may be begun
// anew. Of an ID that is too old that is certain only if there was no other attempt.
func (a attempt) never(err error) bool {
	return errors.Is(err, fsm.ErrVoid) || (errors.Is(err, fsm.ErrForgotten) && !a.repeated)
}

// decidedError ends an attempt whose request an earlier one has carried out.
type decidedError struct{ fsm.Result }

func (e *decidedError) Error() string { return "the request was carried out before" }

// write carries out the write that r asks for, once, however often it is tried.
func (wr *writer) write(ctx context.Context, r *request) (response, error) {
	var res response
	err := wr.recall(ctx, r)
	if err == nil {
		res, err = wr.carryOutVerb(ctx, r)
	}
	if r.attempt.repeated && r.attempt.named() && !r.attempt.spent && definite(err) {
		if e := wr.spend(ctx, r); e != nil {
			err = e
		}
	}
	var done *decidedError
	if errors.As(err, &done) {
		return r.decided(done.Result)
	}
	return res, err
}

// recall fails with a decidedError if an earlier attempt was applied.
func (wr *writer) recall(ctx context.Context, r *request) error {
	if !r.attempt.repeated || !r.attempt.named() {
		return nil
	}
	if err := wr.store.Linearize(ctx); err != nil {
		return uncertain(err)
	}
	if _, ok := wr.store.View().Outcome(r.attempt.request.ID); ok {
		return wr.spend(ctx, r) // the log's answer shows the object as it was then
	}
	return nil
}

// spend has the log decide about the request: nobody carries it out from now on. It fails with a decidedError if
// somebody has.
func (wr *writer) spend(ctx context.Context, r *request) error {
	res, err := wr.propose(ctx, r, fsm.Op{Verb: fsm.Void})
	if err == nil {
		err = res.Err
	}
	return uncertain(err)
}

// uncertain is err for a repeated write, about which no failure of this attempt says anything.
func uncertain(err error) error {
	var done *decidedError
	if err == nil || errors.As(err, &done) || errors.Is(err, fsm.ErrForgotten) || isNotLeader(err) || isUnknown(err) {
		return err
	}
	return unknownError{err}
}

// definite reports whether err, or its absence, is an answer for the client.
func definite(err error) bool {
	var done *decidedError
	return !errors.As(err, &done) && !isNotLeader(err) && !isUnknown(err) &&
		!errors.Is(err, fsm.ErrForgotten) && !errors.Is(err, fsm.ErrVoid)
}

// decided is the answer of the attempt that was applied. If nobody knows any more how the object was then, the answer
// is that it went well.
func (r *request) decided(res fsm.Result) (response, error) {
	code := http.StatusOK
	if r.info.Verb == "create" || res.Earlier.Verb == fsm.Create { // an apply may have created
		code = http.StatusCreated
	}
	switch {
	case res.Object == nil, r.info.Verb == "create" && r.sub != nil:
		return response{code: code, value: success(r, "")}, nil
	case r.info.Verb == "delete":
		return r.deleted(outcome{object: res.Object, removed: res.Earlier.Verb == fsm.Delete}), nil
	}
	return r.answer(code, res.Object)
}
