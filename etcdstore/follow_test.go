package etcdstore

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/etcdclient"
	"statiko/state"
	"statiko/test/etcdtest"
)

// compact compacts etcd at its newest revision.
func compact(t testing.TB, etcd *clientv3.Client) {
	t.Helper()
	r, err := etcd.Get(context.Background(), "any", clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.Compact(context.Background(), r.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

func putRaw(t testing.TB, etcd *clientv3.Client, key, value string) int64 {
	t.Helper()
	r, err := etcd.Put(context.Background(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

func TestLoad_PagesHaveNoGapAndNoDouble(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	first := openOn(t, c.Endpoints(), Options{Prefix: prefix})
	// Objects of very different sizes: pages grow over small ones, and must shrink at once over large ones.
	for i := range 12 {
		mustPut(t, first, &state.Secret{Name: fmt.Sprintf("s%d", i), Sealed: make([]byte, 400<<10)})
	}
	const n = 3000
	if _, err := first.Restore(t.Context(), document(t, manySites("n", n)...), 0); err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		mustPut(t, first, &state.Secret{Name: fmt.Sprintf("s%d", i), Sealed: make([]byte, 400<<10)})
	}
	second := openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "second"})
	a, b := first.Snapshot(), second.Snapshot()
	if b.Len(state.KindSite) != n || b.Len(state.KindName) != 2*n || b.Len(state.KindSecret) != 12 {
		t.Fatalf("loaded %d sites, %d names, %d secrets", b.Len(state.KindSite), b.Len(state.KindName), b.Len(state.KindSecret))
	}
	if a.Revision() != b.Revision() {
		t.Fatalf("the revision is %d where it was followed, and %d where it was loaded", a.Revision(), b.Revision())
	}
	for k := range a.Keys() {
		if x, y := a.RevisionOf(k), b.RevisionOf(k); x != y {
			t.Fatalf("%s has revision %d where it was followed, and %d where it was loaded", k, x, y)
		}
	}
}

// A request with a minimum revision would wait for ever if a node's revision counted what is not state.
func TestLoad_RevisionCountsChangesOfTheStateOnly(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	first := openOn(t, c.Endpoints(), Options{Prefix: prefix})
	revision := mustPut(t, first, site("a.test"), site("b.test"))
	if _, err := first.Update(t.Context(), func(d *state.Draft) error { return d.Delete(site("a.test").Key()) }); err != nil {
		t.Fatal(err)
	}
	revision = max(revision, first.Snapshot().Revision())
	etcd := c.Client(t)
	for i := range 5 {
		putRaw(t, etcd, prefix+"/v1/staging/9", fmt.Sprint(i))
		putRaw(t, etcd, prefix+"/v1/leader/x", fmt.Sprint(i))
	}
	second := openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "second"})
	if got := second.Snapshot().Revision(); got != revision {
		t.Fatalf("loaded at revision %d, followed at %d", got, revision)
	}
}

func TestW22_CompactionUnderALiveWatch(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	etcd, prefix, p := c.Client(t), newPrefix(), c.Member(0).Proxy(t)
	far := openOn(t, []string{p.Endpoint()}, Options{Prefix: prefix, NodeName: "far"})
	near := openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "near"})
	for i := range 10 {
		mustPut(t, near, site(fmt.Sprintf("a%d.test", i)))
		compact(t, etcd)
	}
	before := far.Snapshot()
	awaitSites(t, far, sites(near.Snapshot())...)
	// While it is cut off, sites go, come and change, and the revisions in between are compacted.
	p.Cut()
	loads := far.loads.Load()
	for i := range 5 {
		if _, err := near.Update(t.Context(), func(d *state.Draft) error { return d.Delete(site(fmt.Sprintf("a%d.test", i)).Key()) }); err != nil {
			t.Fatal(err)
		}
		mustPut(t, near, site(fmt.Sprintf("b%d.test", i)), site(fmt.Sprintf("a%d.test", i+5), fmt.Sprintf("www%d.test", i)))
	}
	compact(t, etcd)
	p.Mend()
	awaitSites(t, far, sites(near.Snapshot())...)
	now := far.Snapshot()
	if far.loads.Load() == loads {
		t.Fatal("the watch went on although its revision was compacted")
	}
	if now.Revision() != near.Snapshot().Revision() {
		t.Fatalf("revision %d, on the other node %d", now.Revision(), near.Snapshot().Revision())
	}
	// The load is seen as the changes of the gap, removals included.
	keys, ok := now.ChangedSince(before.Revision())
	if !ok {
		t.Fatal("what changed in the gap is not known")
	}
	changed := map[string]bool{}
	for _, k := range keys {
		if k.Kind == state.KindSite {
			changed[k.Name] = true
		}
	}
	for i := range 5 {
		for _, domain := range []string{"a%d.test", "b%d.test"} {
			if d := fmt.Sprintf(domain, i); !changed[d] {
				t.Errorf("the change of %s is not noticed", d)
			}
		}
	}
	mustPut(t, far, site("again.test"))
	awaitSites(t, near, sites(far.Snapshot())...)
}

func TestLoad_CompactedWhileLoading(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	etcd, prefix := c.Client(t), newPrefix()
	first := openOn(t, c.Endpoints(), Options{Prefix: prefix})
	const n = 4000
	if _, err := first.Restore(t.Context(), document(t, manySites("n", n)...), 0); err != nil {
		t.Fatal(err)
	}
	// Compacting goes on all the while, so that the revision of each page can be gone.
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; i < 60 && ctx.Err() == nil; i++ {
			compact(t, etcd)
			putRaw(t, etcd, prefix+"/v1/staging/9", "")
		}
	}()
	for i := range 3 {
		s := openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: fmt.Sprintf("n%d", i)})
		if got := s.Snapshot().Len(state.KindSite); got != n {
			t.Fatalf("%d sites of %d", got, n)
		}
	}
	stop()
	<-ended
}

func TestFollow_ComparisonFindsWhatTheWatchDidNotBring(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	s := openOn(t, c.Endpoints(), Options{Prefix: prefix, CompareEvery: 50 * time.Millisecond})
	mustPut(t, s, site("a.test"), site("b.test"))
	other := openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "other"})
	before, _ := s.replica()
	snapshot := s.Snapshot()
	revision := mustPut(t, other, site("c.test"))
	awaitSites(t, s, "a.test", "b.test", "c.test")
	// As if the watch had left the change out: the replica says that it reached it, and lacks it.
	s.mu.Lock()
	loads, reached := s.loads.Load(), s.now.reached
	s.now = before
	s.now.reached = reached
	s.Publish(snapshot)
	s.mu.Unlock()
	eventually(t, 10*time.Second, func() error {
		if s.loads.Load() == loads {
			return fmt.Errorf("the difference at revision %d is not noticed", revision)
		}
		return nil
	})
	awaitSites(t, s, "a.test", "b.test", "c.test")
	awaitHealthy(t, s)
	mustPut(t, s, site("d.test"))
}

func TestFollow_AnObjectThatCannotBeReadStopsNoOther(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	s := openOn(t, c.Endpoints(), Options{Prefix: prefix})
	etcd := c.Client(t)
	putRaw(t, etcd, prefix+"/v1/g/1/sites/broken.test", "{")
	putRaw(t, etcd, prefix+"/v1/g/1/sites/liar.test", `{"domain":"other.test"}`)
	putRaw(t, etcd, prefix+"/v1/g/1/newer/x", "1")
	putRaw(t, etcd, prefix+"/v1/newer/x", "1")
	mustPut(t, s, site("good.test"))
	for _, replica := range []*Store{s, openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "second"})} {
		if got := strings.Join(sites(replica.Snapshot()), " "); got != "good.test" {
			t.Fatalf("sites are %s", got)
		}
	}
}

func TestFollow_ForeignPrefixesAreNotSeen(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	one := openOn(t, c.Endpoints(), Options{Prefix: prefix})
	two := openOn(t, c.Endpoints(), Options{Prefix: prefix + "x"})
	three := openOn(t, c.Endpoints(), Options{Prefix: prefix + "/"})
	mustPut(t, one, site("one.test"))
	mustPut(t, two, site("two.test"))
	awaitSites(t, three, "one.test")
	awaitSites(t, one, "one.test")
	awaitSites(t, two, "two.test")
}

func TestFollow_AnIdleStoreIsQuiet(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	s := openOn(t, c.Endpoints(), Options{Prefix: "/quiet"})
	other := openOn(t, c.Endpoints(), Options{Prefix: "/quiet", NodeName: "other"})
	mustPut(t, s, site("a.test"))
	awaitSites(t, other, "a.test")
	ranges, puts := "etcd_mvcc_range_total", "etcd_mvcc_put_total"
	if etcdtest.Foreign() {
		ranges, puts = "etcd_debugging_mvcc_range_total", "etcd_debugging_mvcc_put_total"
	}
	reads, writes := c.Metric(t, ranges), c.Metric(t, puts)
	idle := 5 * time.Second
	if soak() {
		idle = time.Minute
	}
	time.Sleep(idle) // Nothing is waited for: that nothing happens is the test.
	if r, w := c.Metric(t, ranges)-reads, c.Metric(t, puts)-writes; r != 0 || w != 0 {
		t.Fatalf("idle for %v, two nodes made %v reads and %v puts", idle, r, w)
	}
	// The comparison is one read.
	_ = openOn(t, c.Endpoints(), Options{Prefix: "/quiet", NodeName: "third", CompareEvery: 400 * time.Millisecond})
	reads = c.Metric(t, ranges)
	time.Sleep(2 * time.Second)
	if r := c.Metric(t, ranges) - reads; r < 2 || r > 7 {
		t.Fatalf("comparing each 400 ms made %v reads in 2 s", r)
	}
}

func TestOpen_OptionsThatCannotWork(t *testing.T) {
	t.Parallel()
	if _, err := Open(Options{NodeName: "x"}); err == nil {
		t.Error("no client is accepted")
	}
	client, err := etcdclient.Open(etcdclient.Options{Endpoints: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := Open(Options{Client: client}); err == nil {
		t.Error("no name is accepted")
	}
}
