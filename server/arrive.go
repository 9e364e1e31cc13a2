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
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/enroll"
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

// arrive brings the server to where it serves: a member of the group, with the cluster's state. Then it leaves the
// administrator's files and reports ready.
func (s *server) arrive(ctx context.Context) {
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"becoming a member", s.enter},
		{"catching up", s.node.Linearize},
		{"writing the administrator's files", func(context.Context) error { return s.writeFiles() }},
	}
	for _, step := range steps {
		for failures := 0; ; failures++ {
			err := step.do(ctx)
			if err == nil {
				break
			}
			if failures%50 == 25 {
				s.Log.Warn("the server is not ready yet", "while", step.what, "error", err)
			}
			if !awaitNews(ctx, s.store) {
				return
			}
		}
	}
	s.Log.Info("the server is ready", "url", s.url())
	if s.Ready != nil {
		s.Ready()
	}
}

// awaitNews returns when the state changes, or after a while. It is false when ctx has ended.
func awaitNews(ctx context.Context, store *fsm.Store) bool {
	bounded, cancel := context.WithTimeout(ctx, arriveRetry)
	defer cancel()
	_ = store.WaitRevision(bounded, store.View().Revision()+1) // an error is that nothing happened
	return ctx.Err() == nil
}

// enter asks the leader to make this server a member, unless it is one.
func (s *server) enter(ctx context.Context) error {
	for _, m := range s.node.Members() {
		if m.Name == s.Name && m.Address == s.address() {
			return nil
		}
	}
	client := &http.Client{Transport: transport(s.client)}
	defer client.CloseIdleConnections()
	targets := slices.Concat(s.Join, s.serverURLs())
	if len(targets) == 0 {
		return errors.New("the server is in no cluster, though it has the certificate of one: name a server of it with --join")
	}
	var errs error
	for i, most := 0, 2*len(targets)+1; i < len(targets) && i < most; i++ {
		leader, err := s.ask(ctx, client, targets[i])
		if err == nil {
			return nil
		}
		if leader != "" {
			targets = append(targets[:i+1:i+1], "https://"+leader)
		}
		errs = errors.Join(errs, err)
	}
	return errs
}

// ask asks one server. One that does not lead names the leader.
func (s *server) ask(ctx context.Context, client *http.Client, server string) (leader string, err error) {
	body, err := json.Marshal(join.Member{Name: s.Name, Address: s.address()})
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
	if resp.StatusCode == http.StatusOK {
		return "", nil
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
		Leader       string `json:"leader"`
		Term         uint64 `json:"term"`
		CommitIndex  uint64 `json:"commitIndex"`
		AppliedIndex uint64 `json:"appliedIndex"`
		Revision     uint64 `json:"revision"`
		Digest       string `json:"digest"`
		// Keys are those that the server's disk is encrypted with; nil if it cannot tell.
		Keys *keyring.Use `json:"keys"`
	}{st.Name, st.Role, st.Leader, st.Term, st.CommitIndex, st.AppliedIndex, st.Revision, st.Digest, keys}
}
