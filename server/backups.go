package server

import (
	"context"
	"log/slog"
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
	store    *fsm.Store
	restorer *backup.Restorer
	desk     *backup.Desk
	schedule *backup.Schedule // nil if there is none
	log      *slog.Logger
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

// newBackups wires the backups of a server. cluster is the fingerprint of the cluster's CA.
func newBackups(s *server, cluster string) backups {
	here := backup.Header{
		Cluster: cluster, Server: s.Name, Holt: s.Version, Kubernetes: api.DefaultVersion.GitVersion,
		ClusterCIDR: s.ClusterCIDR.String(), ServiceCIDR: s.ServiceCIDR.String(),
	}
	saver := backup.NewSaver(stateOf{s.store, s.node}, s.keys.Ring, here)
	b := backups{store: s.store, restorer: backup.NewRestorer(s.node, s.keys.Ring, here, identity), log: s.Log}
	if s.SnapshotInterval > 0 {
		b.schedule = &backup.Schedule{Dir: s.SnapshotDir, Interval: s.SnapshotInterval, Keep: s.SnapshotKeep, Saver: saver, Log: s.Log}
	}
	b.desk = &backup.Desk{
		Saver: saver, Restorer: b.restorer, Schedule: b.schedule,
		Leader: s.node.Leader, Servers: transport(s.client), Allow: administers, Log: s.Log,
	}
	return b
}

// administers reports whether the request is an administrator's, or another server's that has admitted one. A snapshot
// holds every Secret, and the members carry the cluster, so a right to any URL is not enough.
func administers(r *http.Request) bool {
	user, err := auth.Certificates{}.Authenticate(r)
	return err == nil && (user.In(auth.AdminGroup) || user.In(auth.ServersGroup))
}

// handlers are those of the desk, by their paths.
func (b backups) handlers() map[string]http.Handler {
	return map[string]http.Handler{
		backup.PathSave:    http.HandlerFunc(b.desk.Save),
		backup.PathRestore: http.HandlerFunc(b.desk.Restore),
		backup.PathList:    http.HandlerFunc(b.desk.List),
	}
}

// run makes the scheduled snapshots until ctx ends.
func (b backups) run(ctx context.Context) {
	if b.schedule != nil {
		b.schedule.Run(ctx)
	}
}

// status is what /holt/v1/status tells about the schedule; nil if there is none.
func (b backups) status() *backup.Status {
	if b.schedule == nil {
		return nil
	}
	st := b.schedule.Status()
	return &st
}

// tidy gives up what a restore has staged whose leader has gone.
func (b backups) tidy(ctx context.Context) {
	if err := b.restorer.Drop(ctx, b.store.View().Staged()); err != nil {
		b.log.Warn("an unfinished restore could not be dropped; the next restore or leader does it", "error", err)
	}
}
