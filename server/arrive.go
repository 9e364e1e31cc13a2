package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/server/backup"
	"github.com/holt-project/holt/server/join"
	"github.com/holt-project/holt/server/keyring"
)

const (
	// askTimeout bounds one question to another server, maxAnswer its answer in bytes.
	askTimeout = 10 * time.Second
	maxAnswer  = 64 << 10
)

// arriveRetry is the pause between the steps of arriving while the cluster is not there yet.
const arriveRetry = 200 * time.Millisecond

// votingWait is how long a server that serves already waits until it votes, before it reports ready without: a server
// that only receives the log answers as well as any, and its users need not wait for what makes the cluster safer.
const votingWait = 10 * time.Second

// entrant is the server on its way into the group, and in it.
type entrant struct{ *server }

// belong brings the server to where it serves, and keeps it a member, with its scheduled snapshots, until ctx ends. It fails if the cluster refuses
// the server: to go on would be to ask for ever.
func (s entrant) belong(ctx context.Context) error {
	if err := s.arrive(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { s.backups.run(ctx) })
	return s.stay(ctx)
}

// arrive makes the server a member of the group, with the cluster's state. Then it leaves the administrator's files and
// reports ready.
func (s entrant) arrive(ctx context.Context) error {
	var votesBy time.Time
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"becoming a member", s.enter},
		{"catching up", s.node.Linearize},
		{"becoming a voter", func(context.Context) error { return s.awaitVote(&votesBy) }},
		{"writing the administrator's files", func(context.Context) error { return s.writeFiles() }},
	} {
		for failures := 0; ; failures++ {
			err := step.do(ctx)
			if err == nil {
				break
			}
			if errors.Is(err, enroll.ErrRefused) {
				return err
			}
			if failures%50 == 25 {
				s.Log.Warn("the server is not ready yet", "while", step.what, "error", err)
			}
			if !awaitNews(ctx, s.store) {
				return nil
			}
		}
	}
	s.Log.Info("the server is ready", "url", s.url())
	if s.Ready != nil {
		s.Ready()
	}
	return nil
}

// awaitNews returns when the state changes, or after a while. It is false when ctx has ended.
func awaitNews(ctx context.Context, store *fsm.Store) bool {
	bounded, cancel := context.WithTimeout(ctx, arriveRetry)
	defer cancel()
	_ = store.WaitRevision(bounded, store.View().Revision()+1) // an error is that nothing happened
	return ctx.Err() == nil
}

// awaitVote fails until this server is a voter, or until votingWait after the first call, which by keeps.
func (s entrant) awaitVote(by *time.Time) error {
	if s.node.Status().Voter {
		return nil
	}
	if by.IsZero() {
		*by = time.Now().Add(votingWait)
	}
	if time.Now().Before(*by) {
		return errors.New("the leader has not made it a voter yet")
	}
	s.Log.Warn("the server is ready, but does not vote yet; the leader makes it a voter once it has caught up")
	return nil
}

const (
	// stayTick is how often a server looks whether it hears of a leader; after lonely without one it asks the others
	// whether it is still a member.
	stayTick = time.Second
	lonely   = 3 * time.Second
)

// stay asks to be a member again whenever no leader has spoken for a while: the server may have been removed while it
// was cut off. It fails if that was on purpose.
func (s entrant) stay(ctx context.Context) error {
	tick := time.NewTicker(stayTick)
	defer tick.Stop()
	heard := time.Now()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if _, address, _ := s.node.Leader(); address != "" {
			heard = time.Now()
		}
		if time.Since(heard) < lonely {
			continue
		}
		if err := s.enter(ctx); errors.Is(err, enroll.ErrRefused) {
			return err
		}
	}
}

// enter asks the leader to make this server a member, unless it is one: a leader speaks to members only, and who is
// alone has nobody to ask.
func (s entrant) enter(ctx context.Context) error {
	if _, address, _ := s.node.Leader(); address != "" {
		return nil
	}
	members := s.node.Members()
	if len(members) == 1 && members[0].ID == s.node.Status().ID {
		return nil
	}
	client := &http.Client{Transport: transport(s.client)}
	defer client.CloseIdleConnections()
	targets := slices.DeleteFunc(slices.Concat(s.Join, s.serverURLs()), func(url string) bool { return url == s.url() })
	if len(targets) == 0 {
		return errors.New("the server is in no cluster, though it has the certificate of one: name a server of it with --join")
	}
	var errs error
	for i, most := 0, 2*len(targets)+1; i < len(targets) && i < most; i++ {
		leader, err := s.ask(ctx, client, targets[i])
		if err == nil || errors.Is(err, enroll.ErrRefused) {
			return err
		}
		if leader != "" {
			targets = append(targets[:i+1:i+1], "https://"+leader)
		}
		errs = errors.Join(errs, err)
	}
	return errs
}

// ask asks one server. One that does not lead names the leader.
func (s entrant) ask(ctx context.Context, client *http.Client, server string) (leader string, err error) {
	body, err := json.Marshal(join.Member{Name: s.Name, ID: s.node.Status().ID, Address: s.address()})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server+enroll.PathMembers, strings.NewReader(string(body)))
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer struct{ Leader, Error string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil {
		return "", fmt.Errorf("%s: %s", server, resp.Status)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return "", nil
	case http.StatusForbidden:
		return "", fmt.Errorf("%w: %s (its data folder is %s)", enroll.ErrRefused, answer.Error, s.DataDir)
	}
	return answer.Leader, fmt.Errorf("%s: %s %s", server, resp.Status, answer.Error)
}

// status is what /holt/v1/status tells.
func (s *server) status() any {
	st := s.node.Status()
	var keys *keyring.Use
	if use, err := s.keeper.Use(); err == nil { // what cannot be read now is not told
		keys = &use
	}
	return struct {
		Name         string `json:"name"`
		Role         string `json:"role"`
		Voter        bool   `json:"voter"`
		Leader       string `json:"leader"`
		Term         uint64 `json:"term"`
		CommitIndex  uint64 `json:"commitIndex"`
		AppliedIndex uint64 `json:"appliedIndex"`
		Revision     uint64 `json:"revision"`
		Digest       string `json:"digest"`
		// Keys are those that the server's disk is encrypted with; nil if it cannot tell.
		Keys *keyring.Use `json:"keys"`
		// Snapshots tells about the scheduled snapshots; nil if there are none.
		Snapshots *backup.Status `json:"snapshots,omitempty"`
	}{st.Name, st.Role, st.Voter, st.Leader, st.Term, st.CommitIndex, st.AppliedIndex, st.Revision, st.Digest, keys, s.backups.status()}
}
