package server

import (
	"context"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/api"
	"github.com/holt-project/holt/server/auth"
	"github.com/holt-project/holt/server/backup"
	"github.com/holt-project/holt/server/join"
)

// backups saves the state and brings it back.
type backups struct {
	saver    *backup.Saver
	restorer *backup.Restorer
	schedule *backup.Schedule // nil if there is none
}

// identity selects what makes the running cluster this one: a restore keeps it, or nodes could neither find nor trust
// the servers afterwards, tokens that were revoked would be back, and so would servers that were removed.
var identity = []fsm.Selection{
	{Resource: "secrets", Namespace: join.Namespace, Name: "holt-cluster"},
	{Resource: "secrets", Namespace: join.Namespace, Name: "holt-keyring"},
	{Resource: "secrets", Namespace: join.Namespace, Name: "holt-token-", Prefix: true},
	{Resource: "configmaps", Namespace: join.Namespace, Name: "holt-removed-", Prefix: true},
	{Resource: "services", Namespace: metav1.NamespaceDefault, Name: apiService},
	{Resource: "endpointslices.discovery.k8s.io", Namespace: metav1.NamespaceDefault, Name: apiService},
}

// newBackups wires backups. cluster is the fingerprint of the cluster's CA.
func (s *server) newBackups(cluster string) backups {
	here := backup.Header{
		Cluster: cluster, Server: s.Name, Holt: s.Version, Kubernetes: api.DefaultVersion.GitVersion,
		ClusterCIDR: s.ClusterCIDR.String(), ServiceCIDR: s.ServiceCIDR.String(),
	}
	b := backups{
		saver:    backup.NewSaver(stateOf{s.store, s.node}, s.keys.Ring, here),
		restorer: backup.NewRestorer(s.node, s.keys.Ring, here, identity),
	}
	if s.SnapshotInterval > 0 {
		b.schedule = &backup.Schedule{Dir: s.SnapshotDir, Interval: s.SnapshotInterval, Keep: s.SnapshotKeep, Saver: b.saver, Log: s.Log}
	}
	return b
}

// backupDesk offers backups over HTTP.
func (s *server) backupDesk() *backup.Desk {
	return &backup.Desk{
		Saver: s.backups.saver, Restorer: s.backups.restorer, Schedule: s.backups.schedule,
		Leader: s.node.Leader, Servers: transport(s.client), Allow: mayBackup, Log: s.Log,
	}
}

// mayBackup reports whether the request is an administrator's, or another server's that has admitted one. A snapshot
// holds every Secret, so a right to any URL is not enough.
func mayBackup(r *http.Request) bool {
	user, err := auth.Certificates{}.Authenticate(r)
	return err == nil && (user.In(auth.AdminGroup) || user.In(auth.ServersGroup))
}

// backupStatus is what /holt/v1/status tells about the schedule; nil if there is none.
func (s *server) backupStatus() *backup.Status {
	if s.backups.schedule == nil {
		return nil
	}
	st := s.backups.schedule.Status()
	return &st
}

// dropStaged gives up what a restore has staged whose leader has gone.
func (s *server) dropStaged(ctx context.Context) {
	if err := s.backups.restorer.Drop(ctx, s.store.View().Staged()); err != nil {
		s.Log.Warn("an unfinished restore could not be dropped; the next restore or leader does it", "error", err)
	}
}
