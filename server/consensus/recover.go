package consensus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus/disk"
)

// ErrNotAServer says that a folder holds nothing of a server.
var ErrNotAServer = errors.New("the folder is not a server's")

// Survivor is a server that is not running, as its data folder shows it.
type Survivor struct {
	cfg     Config
	storage disk.Storage
	sealed  *disk.Sealed // nil without Config.Keys
	self    *incarnation

	// Members are those of the last configuration in the log, this server among them.
	Members []Member
	// Index and Term are those of the last entry. Of several survivors, the one with the highest term, and of these
	// the one with the highest index, has every write that was acknowledged, if any of them has.
	Index, Term uint64
}

// OpenSurvivor opens the data folder of a server that is not running, to recover its cluster. Of cfg it needs Name,
// Cluster, DataDir, Keys, Storage and Log. It fails with ErrNotAServer, ErrInUse, ErrForeign, ErrDiverged, ErrMissingKey
// or ErrDamaged, and with ErrNotMember if the server is in no configuration. The caller closes the Survivor.
func OpenSurvivor(cfg Config) (_ *Survivor, err error) {
	cfg = cfg.withDefaults()
	if _, err := os.Stat(filepath.Join(cfg.DataDir, identityFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no %s in %s", ErrNotAServer, identityFile, cfg.DataDir)
	}
	s := &Survivor{cfg: cfg}
	if s.storage, err = cfg.Storage(cfg.DataDir, newHCLog(cfg.Log)); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close releases the folder.
func (s *Survivor) Close() error { return s.storage.Close() }

func (s *Survivor) open() error {
	if err := claim(s.cfg.DataDir, identity{Cluster: s.cfg.Cluster, Server: s.cfg.Name}); err != nil {
		return err
	}
	if s.cfg.Keys != nil {
		s.sealed = disk.Seal(s.storage, s.cfg.Keys, s.cfg.Cluster)
		s.storage = s.sealed.Storage
	}
	if err := inQuarantine(s.cfg.DataDir); err != nil {
		return err
	}
	if err := mendStart(s.storage.Log, s.storage.Snapshots); err != nil {
		return err
	}
	if err := disk.Verify(s.storage.Log); err != nil {
		return err
	}
	existing, err := hasState(s.storage)
	if err != nil {
		return err
	}
	if !existing {
		return fmt.Errorf("%w: it has never been a member of a cluster", ErrNotAServer)
	}
	if s.self, err = loadIncarnation(s.cfg.Name, s.storage.Stable, existing); err != nil {
		return err
	}
	return s.read()
}

// read finds the last configuration and the last entry.
func (s *Survivor) read() (err error) {
	defer disk.RecoverDamage(&err) // the library panics on a configuration that it cannot decode
	var last raft.Configuration
	snapshots, err := s.storage.Snapshots.List()
	if err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	if len(snapshots) > 0 { // the newest comes first
		last, s.Index, s.Term = snapshots[0].Configuration, snapshots[0].Index, snapshots[0].Term
	}
	first, err := s.storage.Log.FirstIndex()
	if err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	end, err := s.storage.Log.LastIndex()
	if err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	for i := max(first, s.Index+1); i <= end; i++ {
		var l raft.Log
		if err := s.storage.Log.GetLog(i, &l); err != nil {
			return fmt.Errorf("%w: entry %d: %v", ErrDamaged, i, err)
		}
		if s.Index, s.Term = l.Index, l.Term; l.Type == raft.LogConfiguration {
			last = raft.DecodeConfiguration(l.Data)
		}
	}
	for _, m := range last.Servers {
		s.Members = append(s.Members, Member{Name: nameOf(m.ID), ID: string(m.ID), Address: string(m.Address),
			Voter: m.Suffrage == raft.Voter})
	}
	_, err = s.member()
	return err
}

// member is this server in the last configuration. Its ID may be the one of a recovery that was cut short.
func (s *Survivor) member() (Member, error) {
	for _, m := range s.Members {
		if m.Name == s.cfg.Name {
			return m, nil
		}
	}
	return Member{}, fmt.Errorf("%w: %s was removed before it was stopped", ErrNotMember, s.cfg.Name)
}

// Recover makes this server the only one of its cluster. It may be repeated, also after it was cut short.
//
// Every entry of the log is kept, though nobody can say any more which of the last ones were committed: dropping one
// could lose a write that was acknowledged, keeping one can at most carry out a write whose outcome was never told.
// What a majority had acknowledged and this server had not received yet is lost.
//
// The server gets a new incarnation and begins a new lineage. So the others, and all that were ever removed, can
// neither vote with it nor send it entries, and are refused when they want to join with their old data: an index and a
// term would not name the same entry on both sides.
func (s *Survivor) Recover(store *fsm.Store) (err error) {
	defer disk.RecoverDamage(&err)
	me, err := s.member()
	if err != nil {
		return err
	}
	next := &incarnation{id: serverID(s.cfg.Name, randomNumber()), stable: s.storage.Stable, adopting: newTurn()}
	alone := raft.Configuration{Servers: []raft.Server{{ID: next.id, Address: raft.ServerAddress(me.Address)}}}
	var failed error
	m := &machine{store: store, digests: &digests{}, fatal: func(err error) { failed = err }, stop: closedChannel()}
	_, trans := raft.NewInmemTransport(raft.ServerAddress(me.Address))
	defer func() { err = errors.Join(err, trans.Close()) }()
	conf := s.cfg.raft(next.id, newHCLog(s.cfg.Log))
	err = raft.RecoverCluster(conf, m, s.storage.Log, s.storage.Stable, newest{s.storage.Snapshots}, trans, alone)
	if s.sealed != nil && s.sealed.Missing() != nil {
		return s.sealed.Missing()
	}
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	// The configuration is on disk with the new ID. If the process ends here, the server starts as nobody's member,
	// and the recovery can be repeated.
	if err := s.storage.Stable.Set(keyIncarnation, []byte(next.number())); err != nil {
		return err
	}
	return s.storage.Stable.Set(keyLineage, []byte(randomNumber()))
}

// newest shows the newest snapshot only: where that cannot be read, the library would take an older one, and lose what
// came in between.
type newest struct{ raft.SnapshotStore }

// List implements raft.SnapshotStore.
func (n newest) List() ([]*raft.SnapshotMeta, error) {
	all, err := n.SnapshotStore.List()
	return all[:min(1, len(all))], err
}

func closedChannel() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
