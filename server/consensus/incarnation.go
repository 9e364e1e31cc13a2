package consensus

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/raft"
)

// What the stable store holds besides raft's own term and vote. They are in the same file as the vote and the log on
// purpose: a disk that has lost these has lost the incarnation with them, and can never be taken for what it was.
var (
	keyIncarnation = []byte("HoltIncarnation")
	keyLineage     = []byte("HoltLineage")
)

// incarnation is a server as raft knows it: its name, and a number that is made with its disk. A server that comes
// back under its name with an empty disk has forgotten its votes and entries, so it is another server to raft.
//
// Its lineage is the history that its log is a part of. A lineage begins with a cluster, and again when a cluster is
// recovered from one server that may lack entries; servers of different lineages never talk raft to each other,
// because an index and a term would no longer name the same entry on both.
//
// Why this is safe: every raft connection begins with the ID that it is for and the lineage of who opens it (see
// greeting), and is refused by whoever has another ID. So no vote and no acknowledgement ever comes from another disk
// than the one that the configuration names: not for a message that was under way when the server was replaced (its
// connection ended with the old process), and not from an empty server that holds an old one's address. There is
// nothing to open or to close when the server is admitted: messages for its own ID begin with the configuration that
// has it.
type incarnation struct {
	id     raft.ServerID
	stable raft.StableStore

	adopting turn   // taken to read or write the lineage
	lineage  string // empty until the server belongs to a history
}

// serverID is the ID that raft gets.
func serverID(name, number string) raft.ServerID { return raft.ServerID(name + "/" + number) }

// number is what tells the server from others of its name.
func (i *incarnation) number() string {
	_, number, _ := strings.Cut(string(i.id), "/")
	return number
}

// nameOf is what people call the server of an ID.
func nameOf(id raft.ServerID) string {
	name, _, _ := strings.Cut(string(id), "/")
	return name
}

// loadIncarnation reads who this server is from the store of its votes, or makes it a new one if nothing is there.
// existing tells whether raft has any state.
func loadIncarnation(name string, stable raft.StableStore, existing bool) (*incarnation, error) {
	number, err := stableText(stable, keyIncarnation)
	if err != nil {
		return nil, err
	}
	lineage, err := stableText(stable, keyLineage)
	if err != nil {
		return nil, err
	}
	if existing && (number == "" || lineage == "") {
		return nil, fmt.Errorf("%w: there is state, but not whose it is: the log has been lost or replaced", ErrDamaged)
	}
	if number == "" {
		number = randomNumber()
		if err := stable.Set(keyIncarnation, []byte(number)); err != nil {
			return nil, err
		}
	}
	return &incarnation{id: serverID(name, number), stable: stable, adopting: newTurn(), lineage: lineage}, nil
}

func stableText(stable raft.StableStore, key []byte) (string, error) {
	text, err := stable.Get(key)
	if err != nil && err.Error() != "not found" { // the library's convention for stable stores
		return "", fmt.Errorf("%w: %s: %v", ErrDamaged, key, err)
	}
	return string(text), nil
}

// randomNumber is 64 random bits. The source never fails.
func randomNumber() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// begin starts a lineage, unless there is one already from a start that was cut short.
func (i *incarnation) begin() error {
	if i.history() != "" {
		return nil
	}
	return i.adopt(randomNumber())
}

// history is the lineage.
func (i *incarnation) history() string {
	defer i.adopting.take()()
	return i.lineage
}

// adopt makes lineage this server's, on disk first.
func (i *incarnation) adopt(lineage string) error {
	defer i.adopting.take()()
	if i.lineage == lineage {
		return nil
	}
	if i.lineage != "" {
		return fmt.Errorf("%w: %s, this one's is %s", ErrLeftBehind, lineage, i.lineage)
	}
	if lineage == "" {
		return errors.New("the other server has no history")
	}
	if err := i.stable.Set(keyLineage, []byte(lineage)); err != nil {
		return err
	}
	i.lineage = lineage
	return nil
}

// admit tells whether a raft connection is for this very server. An empty server becomes a part of the history of
// the first that has it in its configuration.
func (i *incarnation) admit(g greeting) error {
	if g.To != string(i.id) {
		return fmt.Errorf("it is for %s, this is %s", g.To, i.id)
	}
	return i.adopt(g.Lineage)
}
