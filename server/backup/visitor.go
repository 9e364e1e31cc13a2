package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/holt-project/holt/internal/client"
	"github.com/holt-project/holt/internal/folder"
	"github.com/holt-project/holt/internal/seal"
)

// Visitor is the client of a Desk.
type Visitor struct{ client *client.Client }

// NewVisitor makes a visitor that uses c.
func NewVisitor(c *client.Client) *Visitor { return &Visitor{c} }

// Save writes a file of the cluster's state, which only its owner may read, and returns its header. The file is there
// once it is whole and checked, and not before. Unless force is true it must not be there yet.
func (v *Visitor) Save(ctx context.Context, path string, plain, force bool) (Header, error) {
	if _, err := os.Lstat(path); err == nil && !force {
		return Header{}, fmt.Errorf("%s is there already: choose another name, or replace it with --force", path)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Header{}, err
	}
	body, err := v.client.Stream(ctx, client.Request{Method: http.MethodGet, Path: PathSave, Query: fmt.Sprintf("plain=%t", plain)})
	if err != nil {
		return Header{}, err
	}
	defer body.Close()
	var header Header
	err = folder.Replace(path, func(w io.Writer) error {
		f, err := Open(io.TeeReader(body, w))
		if err != nil {
			return err
		}
		header = f.Header
		return f.Verify()
	})
	return header, err
}

// Restore sends a file to the cluster, and returns what it has done with it. With a ring, which need not be the
// cluster's own, the file is opened here and sent plain.
func (v *Visitor) Restore(ctx context.Context, path string, ring seal.Ring) (Answer, error) {
	var done Answer
	if err := check(path, ring); err != nil {
		return done, err
	}
	open := func() (io.ReadCloser, error) { return opened(path, ring) }
	answer, err := v.client.Stream(ctx, client.Request{Method: http.MethodPost, Path: PathRestore, Body: open,
		ContentType: "application/octet-stream"})
	if err != nil {
		return done, err
	}
	defer answer.Close()
	if err := json.NewDecoder(answer).Decode(&done); err != nil {
		return done, fmt.Errorf("the answer is not what was asked for: %w", err)
	}
	return done, nil
}

// List returns the scheduled files of the server that answers.
func (v *Visitor) List(ctx context.Context) ([]Entry, error) {
	var entries []Entry
	return entries, v.client.Do(ctx, client.Request{Method: http.MethodGet, Path: PathList}, &entries)
}

// check reads the whole file before anything is sent.
func check(path string, ring seal.Ring) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := Inspect(f, ring); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// opened returns the file as it is to be sent.
func opened(path string, ring seal.Ring) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil || ring.Primary() == "" {
		return f, err
	}
	file, err := Open(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r, w := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.CloseWithError(file.Reopen(w, ring)) // never fails
	}()
	return &reopened{r, f, ended}, nil
}

// reopened is a file that is opened as it is read. Close joins the goroutine that does it.
type reopened struct {
	*io.PipeReader
	file  *os.File
	ended chan struct{}
}

func (r *reopened) Close() error {
	err := r.PipeReader.Close()
	<-r.ended
	return errors.Join(err, r.file.Close())
}
