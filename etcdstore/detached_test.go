package etcdstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"statiko/etcdclient"
	"statiko/state"
	"statiko/test/etcdtest"
)

// catastrophes are what can happen to etcd's data while nodes look on.
var catastrophes = map[string]struct {
	// prepare is called while the old sites exist, happen after the new ones came.
	prepare func(t testing.TB, c *etcdtest.Cluster) (path string)
	happen  func(t testing.TB, c *etcdtest.Cluster, path string)
	// left are the sites that etcd has afterwards.
	left []string
	// reason is in the health's.
	reason string
}{
	"wiped": {
		prepare: func(testing.TB, *etcdtest.Cluster) string { return "" },
		happen:  func(t testing.TB, c *etcdtest.Cluster, _ string) { c.Member(0).Wipe(t) },
		reason:  "no state",
	},
	"started from an old copy": {
		prepare: func(t testing.TB, c *etcdtest.Cluster) string {
			c.Member(0).Kill()
			defer c.AwaitReady(t)
			defer c.Member(0).Restart(t)
			return c.Member(0).CopyData(t)
		},
		happen: func(t testing.TB, c *etcdtest.Cluster, path string) { c.Member(0).PutBack(t, path) },
		left:   []string{"old.test"}, reason: "older",
	},
	"restored from a snapshot": {
		prepare: func(t testing.TB, c *etcdtest.Cluster) string { return c.Member(0).Snapshot(t) },
		happen:  func(t testing.TB, c *etcdtest.Cluster, path string) { c.Member(0).RestoreSnapshot(t, path) },
		left:    []string{"old.test"}, reason: "older",
	},
}

// afterCatastrophe returns two nodes of which one looked on and one was restarted, both with a local copy.
func afterCatastrophe(t *testing.T, name string) (*etcdtest.Cluster, []*Store) {
	t.Helper()
	k := catastrophes[name]
	c := etcdtest.Start(t, etcdtest.Options{})
	s := openOn(t, c.Endpoints(), Options{Prefix: "/d"})
	kept := &memoryCopy{}
	second := openOn(t, c.Endpoints(), Options{Prefix: "/d", NodeName: "second", Copy: kept})
	mustPut(t, s, site("old.test"))
	path := k.prepare(t, c)
	awaitHealthy(t, s)
	for i := range 3 {
		mustPut(t, s, site(fmt.Sprintf("new%d.test", i)))
	}
	all := []string{"new0.test", "new1.test", "new2.test", "old.test"}
	awaitSites(t, second, all...)
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	c.Member(0).Kill()
	k.happen(t, c, path)
	c.Member(0).Restart(t)
	c.AwaitReady(t)
	second = openNow(t, etcdclient.Options{Endpoints: c.Endpoints()}, Options{Prefix: "/d", NodeName: "second", Copy: kept})
	for _, node := range []*Store{s, second} {
		awaitReason(t, node, "detached: ")
		awaitReason(t, node, k.reason)
		awaitSites(t, node, all...)
		if _, err := put(node, site("x.test")); !errors.Is(err, state.ErrUnavailable) || !strings.Contains(err.Error(), "stkcli store accept") {
			t.Fatalf("a change got %v", err)
		}
	}
	return c, []*Store{s, second}
}

func TestDetached_AcceptTakesWhatEtcdHas(t *testing.T) {
	t.Parallel()
	for name, k := range catastrophes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, nodes := afterCatastrophe(t, name)
			var before []int64
			for _, node := range nodes {
				before = append(before, node.Snapshot().Revision())
			}
			revision, err := nodes[1].Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i, node := range nodes {
				awaitHealthy(t, node)
				awaitSites(t, node, k.left...)
				if now := node.Snapshot().Revision(); now <= before[i] || now < revision {
					t.Errorf("revision %d after %d, accepted at %d", now, before[i], revision)
				}
			}
			mustGoOn(t, nodes, k.left)
			// There is nothing more to decide.
			if again, err := nodes[0].Accept(t.Context()); err != nil || again != nodes[0].Snapshot().Revision() {
				t.Fatalf("accepting again: %d, %v", again, err)
			}
		})
	}
}

func TestDetached_RestoreTakesWhatTheAdministratorHas(t *testing.T) {
	t.Parallel()
	for name := range catastrophes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, nodes := afterCatastrophe(t, name)
			before := nodes[1].Snapshot().Revision()
			revision, err := nodes[0].Restore(t.Context(), document(t, site("backup.test")), 0)
			if err != nil {
				t.Fatal(err)
			}
			if revision <= before {
				t.Errorf("revision %d after %d", revision, before)
			}
			for _, node := range nodes {
				awaitHealthy(t, node)
				awaitSites(t, node, "backup.test")
			}
			mustGoOn(t, nodes, []string{"backup.test"})
		})
	}
}

// mustGoOn makes a change on each node that all must see.
func mustGoOn(t *testing.T, nodes []*Store, have []string) {
	t.Helper()
	for i, node := range nodes {
		domain := fmt.Sprintf("zz%d.test", i)
		mustPut(t, node, site(domain))
		have = append(have[:len(have):len(have)], domain)
		for _, n := range nodes {
			awaitSites(t, n, have...)
		}
	}
}

// The hard case: etcd goes on from an old copy, and is ahead of the node again before the node's connection is back,
// so that etcd's own client would resume the watch in the middle of another history.
func TestDetached_AnOpenWatchThatResumesInAnotherHistory(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	p := c.Member(0).Proxy(t)
	s := openOn(t, []string{p.Endpoint()}, Options{Prefix: "/d"})
	mustPut(t, s, site("old.test"))
	m := c.Member(0)
	m.Kill()
	copied := m.CopyData(t)
	m.Restart(t)
	c.AwaitReady(t)
	awaitHealthy(t, s)
	mustPut(t, s, site("acknowledged.test"))
	before := s.Snapshot().Revision()
	p.Cut()
	m.Kill()
	m.PutBack(t, copied)
	m.Restart(t)
	c.AwaitReady(t)
	stranger := openOn(t, c.Endpoints(), Options{Prefix: "/d", NodeName: "stranger"})
	for i := range 10 {
		mustPut(t, stranger, site(fmt.Sprintf("strange%d.test", i)))
	}
	if now := stranger.Snapshot().Revision(); now <= before {
		t.Fatalf("revision %d is not beyond %d", now, before)
	}
	p.Mend()
	awaitReason(t, s, "older copy of itself")
	awaitSites(t, s, "acknowledged.test", "old.test")
	// What the witness was is compacted: the node must still not be fooled.
	compact(t, c.Client(t))
	p.Drop()
	eventually(t, 10*time.Second, func() error { _, err := put(s, site("x.test")); return errIs(err, state.ErrUnavailable) })
	awaitReason(t, s, "older copy")
	awaitSites(t, s, "acknowledged.test", "old.test")
	if _, err := s.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, site("z.test"))
	awaitSites(t, stranger, sites(s.Snapshot())...)
	if n := stranger.Snapshot().Len(state.KindSite); n != 12 {
		t.Fatalf("%d sites", n)
	}
}

func errIs(err, want error) error {
	if errors.Is(err, want) {
		return nil
	}
	return fmt.Errorf("got %v, want %v", err, want)
}

// A node that is pointed to another cluster's etcd must not take its state, whatever was decided there.
func TestDetached_AnotherClustersStateIsNotTaken(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ours, theirs := newPrefix(), newPrefix()
	kept := &memoryCopy{}
	s := openOn(t, c.Endpoints(), Options{Prefix: ours, Copy: kept})
	mustPut(t, s, site("ours.test"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other := openOn(t, c.Endpoints(), Options{Prefix: theirs, NodeName: "other"})
	mustPut(t, other, site("theirs.test"))
	// There, an administrator decided before.
	now, _ := other.replica()
	value, err := now.head.decided(headRecord{ID: "a third"}).encode()
	if err != nil {
		t.Fatal(err)
	}
	putRaw(t, c.Client(t), theirs+"/v1/head", value)
	s = openNow(t, etcdclient.Options{Endpoints: c.Endpoints()}, Options{Prefix: theirs, Copy: kept})
	awaitReason(t, s, "another state")
	awaitSites(t, s, "ours.test")
	if _, err := s.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitHealthy(t, s)
	awaitSites(t, s, "theirs.test")
	awaitSites(t, other, "theirs.test")
	mustGoOn(t, []*Store{s, other}, []string{"theirs.test"})
}

func TestJoin_AnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	s := openOn(t, c.Endpoints(), Options{Prefix: prefix, KeyID: "aaaa"})
	mustPut(t, s, site("a.test"))
	if id := s.Snapshot().Head().KeyID; id != "aaaa" {
		t.Fatalf("the state has key id %q", id)
	}
	other := openNow(t, etcdclient.Options{Endpoints: c.Endpoints()}, Options{Prefix: prefix, NodeName: "other", KeyID: "bbbb"})
	awaitReason(t, other, "key")
	if n := other.Snapshot().Len(state.KindSite); n != 0 {
		t.Fatalf("it has %d sites", n)
	}
	if _, err := put(other, site("b.test")); !errors.Is(err, state.ErrUnavailable) {
		t.Fatalf("a change got %v", err)
	}
	doc, err := state.ParseDocument([]byte(`{"sites":[],"keyId":"cccc"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Restore(t.Context(), doc, 0); !errors.Is(err, state.ErrForeignKey) {
		t.Fatalf("restoring a document of another key got %v", err)
	}
	knows := openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "knows", KeyID: "bbbb", KnownKeyIDs: []string{"aaaa"}})
	awaitSites(t, knows, "a.test")
}
