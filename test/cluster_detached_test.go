package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/test/cluster"
)

// etcd comes back with something else than what the nodes know: they serve on, refuse changes and say why, until one
// command decides for all of them. Nothing of both is ever mixed.
func TestDetached_EtcdReturnsWithAnotherState(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		// prepare is done while the state is old.example.org only, damage when the nodes know new.example.org too.
		prepare func(*testing.T, *cluster.Cluster) string
		damage  func(*testing.T, *cluster.Cluster, string)
		// accept decides for etcd's state, and otherwise for a backup.
		accept bool
		// want is what all have then.
		want []string
	}{
		{"wiped, and a backup put there", nothing, wipe, false, []string{"new.example.org", "old.example.org"}},
		{"wiped, and that accepted", nothing, wipe, true, nil},
		{"restored from a snapshot, which is accepted", snapshot, restoreSnapshot, true, []string{"old.example.org"}},
		{"started from an old copy, which is accepted", copyData, putBack, true, []string{"old.example.org"}},
		{"started from an old copy, and a backup put there", copyData, putBack, false, []string{"new.example.org", "old.example.org"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, builtFast(t), 2)
			addSite(t, c.Nodes[0].API(t), "old.example.org")
			c.Serves(t, 20*time.Second, "old.example.org")
			kept := test.prepare(t, c)
			cluster.Must(t, cluster.Poll(20*time.Second, "a change", func() error {
				_, err := c.Nodes[1].API(t).CreateSite(context.Background(), api.SiteCreate{Domain: "new.example.org"})
				return err
			}))
			serial := c.Serves(t, 20*time.Second, "new.example.org")
			backup := filepath.Join(t.TempDir(), "backup.json")
			c.Nodes[0].Stkcli(t, "state", "get", "--out", backup)

			c.Etcd.Member(0).Kill()
			test.damage(t, c, kept)
			c.Etcd.Member(0).Restart(t)
			c.Etcd.AwaitReady(t)
			for _, n := range c.Nodes {
				isDetached(t, n)
			}
			if again := c.Serves(t, time.Second, "new.example.org"); again != serial {
				t.Errorf("the serial number is %s, and was %s", again, serial)
			}
			c.HaveExactly(t, time.Second, "new.example.org", "old.example.org")

			decided := time.Now()
			if test.accept {
				c.Nodes[0].Stkcli(t, "store", "accept", "--yes")
			} else {
				c.Nodes[0].Stkcli(t, "state", "set", "--file", backup, "--yes")
			}
			c.HaveExactly(t, 10*time.Second, test.want...)
			for _, n := range c.Nodes {
				cluster.Must(t, n.Healthy())
			}
			t.Logf("all nodes follow etcd %s after the decision", time.Since(decided).Round(time.Millisecond))
			for i, n := range c.Nodes {
				domain := fmt.Sprintf("after-%d.example.org", i)
				addSite(t, n.API(t), domain)
				test.want = append(test.want, domain)
			}
			c.HaveExactly(t, 5*time.Second, test.want...)
			for _, domain := range test.want {
				c.Serves(t, 20*time.Second, domain)
			}
			if !test.accept {
				if again := c.Serves(t, time.Second, "new.example.org"); again != serial {
					t.Errorf("after the restore the serial number is %s, and was %s", again, serial)
				}
			}
			c.SameDocument(t)
		})
	}
}

// isDetached waits until the node says that etcd's state is another one, and refuses changes because of that.
func isDetached(t testing.TB, n *cluster.Node) {
	t.Helper()
	client := n.API(t)
	ctx := context.Background()
	cluster.Must(t, cluster.Poll(10*time.Second, n.Name()+" is detached", func() error {
		var answer api.Answer
		s, err := client.Status(ctx, "", false, api.Observe(&answer))
		if err != nil || answer.Status != 200 {
			return cluster.NoUse(fmt.Errorf("status %d, %v, %+v", answer.Status, err, s))
		}
		if s.Store.Healthy || !strings.Contains(s.Store.Reason, "accept") {
			return fmt.Errorf("the store: %+v", s.Store)
		}
		return nil
	}))
	began := time.Now()
	_, err := client.CreateSite(ctx, api.SiteCreate{Domain: "detached.example.org"})
	e, err := cluster.Refused(err, time.Since(began))
	if err != nil {
		t.Errorf("%s: a change while detached: %v", n.Name(), err)
	} else if e.Code != api.CodeUnavailable {
		t.Errorf("%s: a change while detached: %s", n.Name(), e.Code)
	}
}

func nothing(*testing.T, *cluster.Cluster) string { return "" }

func wipe(t *testing.T, c *cluster.Cluster, _ string) { c.Etcd.Member(0).Wipe(t) }

func snapshot(t *testing.T, c *cluster.Cluster) string { return c.Etcd.Member(0).Snapshot(t) }

func restoreSnapshot(t *testing.T, c *cluster.Cluster, file string) {
	c.Etcd.Member(0).RestoreSnapshot(t, file)
}

func copyData(t *testing.T, c *cluster.Cluster) string {
	c.Etcd.Member(0).Kill()
	folder := c.Etcd.Member(0).CopyData(t)
	c.Etcd.Member(0).Restart(t)
	c.Etcd.AwaitReady(t)
	return folder
}

func putBack(t *testing.T, c *cluster.Cluster, folder string) {
	if _, err := os.Stat(folder); err != nil {
		t.Fatal(err)
	}
	c.Etcd.Member(0).PutBack(t, folder)
}
