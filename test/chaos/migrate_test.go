package chaos

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"statiko/test/cluster"
	"statiko/test/history"
)

// The state moves from a file to etcd under writers: changes are acknowledged until the node freezes, and refused then; the
// node is started with etcd, and has every acknowledged change and no other.
func TestChaos_MigrationUnderLoad(t *testing.T) {
	Wanted(t)
	c := cluster.New(t, cluster.Options{Bin: built(t), Nodes: 1})
	n := c.Nodes[0]
	toEtcd, address := filepath.Join(n.Dir, "etcd.yaml"), n.Settings["state.etcd.address"]
	cluster.Must(t, n.WriteTo(toEtcd))
	n.Settings["state.store"] = "file"
	delete(n.Settings, "state.etcd.address")
	cluster.Must(t, n.Write())
	n.Start(t)
	s := NewScene(t, c, Seed(t), &allScenes)
	s.begin()
	s.Restore(-1, n, n.API(t), history.Sites{})

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run(ctx, Load{Writers: 6, Pause: 5 * time.Millisecond, Groups: 10, Names: 5}, 1)
	}()
	defer func() { stop(); <-done }()
	s.pause(3*time.Second, 4*time.Second)
	out := n.Stkcli(t, "state", "migrate", "--from", n.ConfigFile(), "--to", toEtcd, "--yes")
	moved := s.calls.Now()
	s.pause(time.Second, 2*time.Second)
	stop()
	<-done
	refused := 0
	for _, call := range s.calls.Calls() {
		if call.Begin > moved {
			if refused++; call.Result != history.Refused {
				t.Errorf("after the move, %s %s: %s %s", call.Op, call.Domain, call.Result, call.Error)
			}
		}
	}
	if refused == 0 {
		t.Error("nobody asked for a change after the move")
	}
	// What was shown from the file has the revisions of the file.
	cluster.Must(t, s.views.Judge(s.calls.Calls(), 0))
	s.views = &history.Views{}

	cluster.Must(t, n.Stop())
	n.Settings["state.store"], n.Settings["state.etcd.address"] = "etcd", address
	cluster.Must(t, n.Write())
	n.Start(t)
	s.Judge()
	t.Logf("%s; %d changes refused after the move, which said\n%s", s.calls.Summary(), refused, out)
}
