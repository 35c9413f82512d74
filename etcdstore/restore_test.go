package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/etcdclient"
	"statiko/state"
	"statiko/test/etcdtest"
)

// generationsIn returns how many keys each generation has in etcd.
func generationsIn(t testing.TB, etcd *clientv3.Client, prefix string) map[int64]int {
	t.Helper()
	r, err := etcd.Get(context.Background(), prefix+"/v1/g/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	found := map[int64]int{}
	for _, kv := range r.Kvs {
		gen, ok := newKeys(prefix).generationOf(string(kv.Key))
		if !ok {
			t.Fatalf("key %s", kv.Key)
		}
		found[gen]++
	}
	return found
}

// whole returns an error unless the snapshot has the sites of exactly one document "a", "b" or "c" of n sites.
func whole(s *state.Snapshot, n int) error {
	first, count := "", 0
	for site := range s.Sites() {
		if count++; count == 1 {
			first = site.Domain[:1]
		}
		if site.Domain[:1] != first {
			return errors.New("sites of two documents")
		}
	}
	if count != n || s.Len(state.KindName) != 2*n {
		return fmt.Errorf("%d sites and %d names, want %d sites", count, s.Len(state.KindName), n)
	}
	return nil
}

func TestRestore_NobodyOnAnyNodeSeesAHalf(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	const n = 600
	nodes := []*Store{openOn(t, c.Endpoints(), Options{Prefix: prefix}), openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "second"})}
	docs := []*state.Document{document(t, manySites("a", n)...), document(t, manySites("b", n)...), document(t, manySites("c", n)...)}
	revision, err := nodes[0].Restore(t.Context(), docs[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[1].Wait(t.Context(), revision-1); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	defer readers.Wait()
	defer stop()
	for _, node := range nodes {
		readers.Go(func() {
			last := int64(0)
			for ctx.Err() == nil {
				s, err := node.Wait(ctx, last)
				if err != nil {
					return
				}
				if s.Revision() < last {
					t.Errorf("revision %d after %d", s.Revision(), last)
				}
				last = s.Revision()
				if err := whole(s, n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 6 {
		if _, err := nodes[i%2].Restore(t.Context(), docs[(i+1)%3], 0); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRestore_TheLastOfTwoWins(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	nodes := []*Store{openOn(t, c.Endpoints(), Options{Prefix: prefix}), openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "second"})}
	for round := range 4 {
		const n = 250
		docs := []*state.Document{document(t, manySites("a", n)...), document(t, manySites("b", n)...)}
		revisions, errs := make([]int64, 2), make([]error, 2)
		var both sync.WaitGroup
		for i := range 2 {
			both.Go(func() { revisions[i], errs[i] = nodes[i].Restore(t.Context(), docs[i], 0) })
		}
		both.Wait()
		last := 0
		for i := range 2 {
			if errs[i] != nil {
				t.Fatalf("round %d: %v", round, errs[i])
			}
			if revisions[i] > revisions[last] {
				last = i
			}
		}
		for _, node := range nodes {
			s, err := node.Wait(t.Context(), revisions[last]-1)
			if err != nil {
				t.Fatal(err)
			}
			if err := whole(s, n); err != nil {
				t.Fatal(err)
			}
			if got := sites(s)[0][:1]; got != "ab"[last:last+1] {
				t.Fatalf("round %d: the state is %s, the last restore was %d", round, got, last)
			}
		}
	}
}

func TestRestore_AnUpdateBetweenLookAndRestoreIsNotLost(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	one := openOn(t, c.Endpoints(), Options{Prefix: prefix})
	two := openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "second"})
	refused, made := 0, 0
	for round := range 15 {
		looked := mustPut(t, one, site(fmt.Sprintf("old%d.test", round)))
		domain := fmt.Sprintf("new%d.test", round)
		var both sync.WaitGroup
		var putErr, restoreErr error
		both.Go(func() { _, putErr = put(two, site(domain)) })
		both.Go(func() { _, restoreErr = one.Restore(context.Background(), document(t, site("restored.test")), looked) })
		both.Wait()
		switch {
		case putErr != nil:
			t.Fatal(putErr)
		case restoreErr == nil:
			made++
		case errors.Is(restoreErr, state.ErrPrecondition), errors.Is(restoreErr, state.ErrConflict):
			refused++
		default:
			t.Fatal(restoreErr)
		}
		// Both were acknowledged: then the site came after the restore, and is there.
		if _, ok := two.Snapshot().Site(domain); !ok {
			t.Fatalf("round %d: %s was acknowledged and is gone; the restore said %v", round, domain, restoreErr)
		}
	}
	t.Logf("%d restores were made, %d refused", made, refused)
}

func TestRestore_ACrashInTheMiddleLeavesTheOld(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	etcd := c.Client(t)
	s := openOn(t, c.Endpoints(), Options{Prefix: prefix})
	mustPut(t, s, site("old.test"))
	// A restore whose process ends is one that is not flipped, and whose lease nobody renews.
	crashed := &restore{store: s, doc: document(t, manySites("a", 500)...)}
	now, _ := s.replica()
	crashed.head, crashed.etcd = now.head, etcd
	release, err := crashed.stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := crashed.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, site("meanwhile.test"))
	second := openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "second"})
	for _, node := range []*Store{s, second} {
		awaitSites(t, node, "meanwhile.test", "old.test")
	}
	fence, end := newTerm(t, etcd, prefix+"/leader", false)
	defer end()
	// While it is being written, nobody removes it.
	if n, err := s.Sweep(t.Context(), fence); err != nil || n != 0 {
		t.Fatalf("swept %d, %v", n, err)
	}
	release()
	if n, err := s.Sweep(t.Context(), fence); err != nil || n != 1500 {
		t.Fatalf("swept %d, %v", n, err)
	}
	// It came back to life: its place is gone.
	if _, err := crashed.flip(t.Context()); !errors.Is(err, state.ErrUnavailable) {
		t.Fatalf("the flip of a restore without its place got %v", err)
	}
	awaitSites(t, s, "meanwhile.test", "old.test")
	// Another restore is not disturbed by what is left, swept or not.
	if _, err := s.Restore(t.Context(), document(t, site("new.test")), 0); err != nil {
		t.Fatal(err)
	}
	awaitSites(t, second, "new.test")
}

func TestRestore_OverTheQuotaIsRefusedBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	if etcdtest.Foreign() {
		t.Skip("older servers do not say their quota")
	}
	c := etcdtest.Start(t, etcdtest.Options{Flags: []string{"--quota-backend-bytes=4194304"}})
	etcd := c.Client(t)
	s := openOn(t, c.Endpoints(), Options{Prefix: "/q"})
	mustPut(t, s, site("old.test"))
	revision := putRaw(t, etcd, "mark", "")
	_, err := s.Restore(t.Context(), document(t, manySites("n", 12000)...), 0)
	if !errors.Is(err, state.ErrTooLarge) || !strings.Contains(err.Error(), "quota") {
		t.Fatalf("got %v", err)
	}
	if now := putRaw(t, etcd, "mark", ""); now != revision+1 {
		t.Fatalf("%d revisions were written", now-revision-1)
	}
	awaitSites(t, s, "old.test")
}

// runOutOfSpace fills an etcd of 2 MiB until it takes no changes, which the store knows then.
func runOutOfSpace(t testing.TB, s *Store, etcd *clientv3.Client) {
	t.Helper()
	for i := 0; ; i++ {
		if _, err := etcd.Put(t.Context(), fmt.Sprintf("fill%d", i%3), strings.Repeat("x", 500<<10)); err != nil {
			break
		}
	}
	eventually(t, 10*time.Second, func() error {
		_, err := put(s, site("b.test"))
		if !errors.Is(err, state.ErrUnavailable) || !strings.Contains(err.Error(), "NOSPACE") {
			return fmt.Errorf("got %v", err)
		}
		return nil
	})
	awaitReason(t, s, "NOSPACE")
}

// giveSpace does what the store says of an etcd that is out of space.
func giveSpace(t testing.TB, c *etcdtest.Cluster, etcd *clientv3.Client) {
	t.Helper()
	compact(t, etcd)
	if _, err := etcd.Defragment(t.Context(), c.Endpoints()[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.AlarmDisarm(t.Context(), &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
}

func TestStore_OutOfSpaceSaysSoAndRecovers(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{Flags: []string{"--quota-backend-bytes=2097152"}})
	etcd := c.Client(t)
	s := openOn(t, c.Endpoints(), Options{Prefix: "/q"})
	mustPut(t, s, site("a.test"))
	runOutOfSpace(t, s, etcd)
	awaitSites(t, s, "a.test")
	// A node that starts now serves, and knows.
	late := openNow(t, etcdclient.Options{Endpoints: c.Endpoints()}, Options{Prefix: "/q", NodeName: "late"})
	awaitReason(t, late, "NOSPACE")
	awaitSites(t, late, "a.test")
	// What the message says is done.
	giveSpace(t, c, etcd)
	awaitHealthy(t, s)
	mustPut(t, s, site("b.test"))
	awaitSites(t, s, "a.test", "b.test")
}
