package consensus

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/hashicorp/raft"
)

// maxGreeting bounds a greeting on the wire, in bytes. Names have at most 253.
const maxGreeting = 1024

// greeting is what follows the first byte of a raft connection: a length of two bytes, and this as JSON.
type greeting struct {
	// To is the ID of the server that the connection is for, Lineage the history of the one that opened it.
	To      string `json:"to"`
	Lineage string `json:"lineage"`
}

func (g greeting) encode() ([]byte, error) {
	text, err := json.Marshal(g)
	if err == nil && len(text) > maxGreeting {
		err = fmt.Errorf("a greeting of %d bytes", len(text))
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(text))), text...), err
}

func readGreeting(from io.Reader) (g greeting, err error) {
	var size [2]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return g, err
	}
	n := binary.BigEndian.Uint16(size[:])
	if n > maxGreeting {
		return g, fmt.Errorf("a greeting of %d bytes", n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(from, text); err != nil {
		return g, err
	}
	return g, json.Unmarshal(text, &g)
}

// destination is the address that the library dials and pools connections under: with the ID of whom it is for.
func destination(id raft.ServerID, address raft.ServerAddress) raft.ServerAddress {
	return raft.ServerAddress(string(id) + "@" + string(address))
}

func parseDestination(to raft.ServerAddress) (id, address string, err error) {
	at := strings.LastIndexByte(string(to), '@')
	if at < 0 {
		return "", "", &net.AddrError{Err: "names no server", Addr: string(to)}
	}
	return string(to[:at]), string(to[at+1:]), nil
}
