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
)

// etcd comes back with something else than what the nodes know: they serve on, refuse changes and say why, until one
// command decides for all of them. Nothing of both is ever mixed.
func TestDetached_EtcdReturnsWithAnotherState(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		// prepare is done while the state is old.example.org only, damage when the nodes know new.example.org too.
		prepare func(*testing.T, *cluster) string
		damage  func(*testing.T, *cluster, string)
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
			addSite(t, apiOf(t, c.nodes[0]), "old.example.org")
			c.serves(t, 20*time.Second, "old.example.org")
			kept := test.prepare(t, c)
			must(t, poll(20*time.Second, "a change", func() error {
				_, err := apiOf(t, c.nodes[1]).CreateSite(context.Background(), api.SiteCreate{Domain: "new.example.org"})
				return err
			}))
			serial := c.serves(t, 20*time.Second, "new.example.org")
			backup := filepath.Join(t.TempDir(), "backup.json")
			c.nodes[0].stkcli(t, "state", "get", "--out", backup)

			c.etcd.Member(0).Kill()
			test.damage(t, c, kept)
			c.etcd.Member(0).Restart(t)
			c.etcd.AwaitReady(t)
			for _, n := range c.nodes {
				isDetached(t, n)
			}
			if again := c.serves(t, time.Second, "new.example.org"); again != serial {
				t.Errorf("the serial number is %s, and was %s", again, serial)
			}
			c.haveExactly(t, time.Second, "new.example.org", "old.example.org")

			decided := time.Now()
			if test.accept {
				c.nodes[0].stkcli(t, "store", "accept", "--yes")
			} else {
				c.nodes[0].stkcli(t, "state", "set", "--file", backup, "--yes")
			}
			c.haveExactly(t, 10*time.Second, test.want...)
			for _, n := range c.nodes {
				must(t, n.healthy())
			}
			t.Logf("all nodes follow etcd %s after the decision", time.Since(decided).Round(time.Millisecond))
			for i, n := range c.nodes {
				domain := fmt.Sprintf("after-%d.example.org", i)
				addSite(t, apiOf(t, n), domain)
				test.want = append(test.want, domain)
			}
			c.haveExactly(t, 5*time.Second, test.want...)
			for _, domain := range test.want {
				c.serves(t, 20*time.Second, domain)
			}
			if !test.accept {
				if again := c.serves(t, time.Second, "new.example.org"); again != serial {
					t.Errorf("after the restore the serial number is %s, and was %s", again, serial)
				}
			}
			c.sameDocument(t)
		})
	}
}

// isDetached waits until the node says that etcd's state is another one, and refuses changes because of that.
func isDetached(t testing.TB, n *node) {
	t.Helper()
	client := apiOf(t, n)
	ctx := context.Background()
	must(t, poll(10*time.Second, n.name()+" is detached", func() error {
		var answer api.Answer
		s, err := client.Status(ctx, "", false, api.Observe(&answer))
		if err != nil || answer.Status != 200 {
			return final{fmt.Errorf("status %d, %v, %+v", answer.Status, err, s)}
		}
		if s.Store.Healthy || !strings.Contains(s.Store.Reason, "accept") {
			return fmt.Errorf("the store: %+v", s.Store)
		}
		return nil
	}))
	began := time.Now()
	_, err := client.CreateSite(ctx, api.SiteCreate{Domain: "detached.example.org"})
	e, err := refused(err, time.Since(began))
	if err != nil {
		t.Errorf("%s: a change while detached: %v", n.name(), err)
	} else if e.Code != api.CodeUnavailable {
		t.Errorf("%s: a change while detached: %s", n.name(), e.Code)
	}
}

// sameDocument compares the nodes' whole states.
func (c *cluster) sameDocument(t testing.TB) {
	t.Helper()
	must(t, poll(10*time.Second, "the same document on all nodes", func() error {
		var first string
		for _, n := range c.nodes {
			client := n.client()
			var text strings.Builder
			err := client.State(context.Background(), &text)
			client.Close()
			if err != nil {
				return err
			}
			if first != "" && first != text.String() {
				return fmt.Errorf("%s has another document, of %d bytes, not %d", n.name(), text.Len(), len(first))
			}
			first = text.String()
		}
		return nil
	}))
}

func nothing(*testing.T, *cluster) string { return "" }

func wipe(t *testing.T, c *cluster, _ string) { c.etcd.Member(0).Wipe(t) }

func snapshot(t *testing.T, c *cluster) string { return c.etcd.Member(0).Snapshot(t) }

func restoreSnapshot(t *testing.T, c *cluster, file string) {
	c.etcd.Member(0).RestoreSnapshot(t, file)
}

func copyData(t *testing.T, c *cluster) string {
	c.etcd.Member(0).Kill()
	folder := c.etcd.Member(0).CopyData(t)
	c.etcd.Member(0).Restart(t)
	c.etcd.AwaitReady(t)
	return folder
}

func putBack(t *testing.T, c *cluster, folder string) {
	if _, err := os.Stat(folder); err != nil {
		t.Fatal(err)
	}
	c.etcd.Member(0).PutBack(t, folder)
}
