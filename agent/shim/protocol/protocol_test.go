package protocol_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/holt-project/holt/agent/shim/protocol"
)

func TestMessagesFollowEachOther(t *testing.T) {
	var wire bytes.Buffer
	want := []protocol.Request{{Op: protocol.OpState}, {Op: protocol.OpSignal, ID: "a\nb", Signal: 9}}
	for _, m := range want {
		if err := protocol.Write(&wire, m); err != nil {
			t.Fatal(err)
		}
	}
	in := protocol.NewReader(iotest.OneByteReader(&wire))
	var got []protocol.Request
	for {
		var m protocol.Request
		err := in.Read(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOversizeIsRefusedOnBothSides(t *testing.T) {
	huge := protocol.Request{ID: strings.Repeat("x", protocol.MaxMessage)}
	if err := protocol.Write(io.Discard, huge); !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("write: %v", err)
	}
	endless := iotest.DataErrReader(strings.NewReader(strings.Repeat("x", protocol.MaxMessage+1)))
	var m protocol.Request
	if err := protocol.NewReader(endless).Read(&m); !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("read: %v", err)
	}
	if err := protocol.NewReader(strings.NewReader(`{"op":`)).Read(&m); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a message: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"op":"create","container":{"id":"x","spec":{"root":{"path":"/"},"process":{"args":["a"],"cwd":"/"}},"logPath":"/l"}}` + "\n"))
	f.Add([]byte("{}\n\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := protocol.NewReader(bytes.NewReader(data))
		for {
			var m protocol.Request
			if in.Read(&m) != nil {
				return
			}
			if m.Container != nil && m.Container.Validate() == nil {
				if _, err := json.Marshal(m); err != nil {
					t.Errorf("a valid request cannot be sent on: %v", err)
				}
			}
		}
	})
}
