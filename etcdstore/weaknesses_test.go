package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/state"
	"statiko/test/etcdtest"
)

// Tests named after weaknesses of the earlier program; others of them are in follow_test.go and outage_test.go.

// twoNodes returns two nodes with one state.
func twoNodes(t *testing.T) (nodes []*Store, prefix string) {
	t.Helper()
	c := sharedCluster(t)
	prefix = newPrefix()
	return []*Store{openOn(t, c.Endpoints(), Options{Prefix: prefix}), openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "second"})}, prefix
}

func TestW1_AcknowledgedChangesOfTwoNodesAreAllThere(t *testing.T) {
	t.Parallel()
	nodes, prefix := twoNodes(t)
	const writers, each = 8, 25
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				if _, err := put(nodes[w%2], site(fmt.Sprintf("w%d-%d.test", w, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	third := openOn(t, sharedCluster(t).Endpoints(), Options{Prefix: prefix, NodeName: "third"})
	for _, s := range append(nodes, third) {
		eventually(t, 10*time.Second, func() error {
			if n := s.Snapshot().Len(state.KindSite); n != writers*each {
				return fmt.Errorf("%d sites of %d", n, writers*each)
			}
			return nil
		})
	}
}

func TestW2_OneNameBelongsToOneSite(t *testing.T) {
	t.Parallel()
	nodes, _ := twoNodes(t)
	for i := range 20 {
		var both sync.WaitGroup
		var made, refused atomic.Int32
		for n, s := range nodes {
			both.Go(func() {
				// The same name is once the domain and once an alias.
				_, err := s.Update(context.Background(), func(d *state.Draft) error {
					if _, ok := d.Site(fmt.Sprintf("n%d.test", i)); ok {
						return state.ErrExists
					}
					if n == 0 {
						return d.Put(site(fmt.Sprintf("n%d.test", i)))
					}
					return d.Put(site(fmt.Sprintf("other%d.test", i), fmt.Sprintf("n%d.test", i)))
				})
				switch {
				case err == nil:
					made.Add(1)
				case errors.Is(err, state.ErrExists):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		both.Wait()
		if made.Load() != 1 || refused.Load() != 1 {
			t.Fatalf("round %d: %d were made, %d refused", i, made.Load(), refused.Load())
		}
	}
	if n := nodes[0].Snapshot().Len(state.KindSite); n != 20 {
		t.Fatalf("%d sites", n)
	}
}

func TestW4_AFailedWriteLeavesMemoryAsItWas(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	s := openOn(t, c.Endpoints(), Options{Prefix: "/w"})
	mustPut(t, s, site("a.test"))
	before := s.Snapshot()
	if _, err := put(s, &state.Secret{Name: "a", Sealed: make([]byte, 500<<10)}, &state.Secret{Name: "b", Sealed: make([]byte, 500<<10)}); !errors.Is(err, state.ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
	c.Member(0).Kill()
	mustFail(t, s, "b.test")
	if _, err := s.Restore(t.Context(), document(t, manySites("n", 100)...), 0); err == nil {
		t.Fatal("it was restored without etcd")
	}
	if s.Snapshot() != before {
		t.Fatalf("the snapshot is another: %v", sites(s.Snapshot()))
	}
}

func TestW5_AStateOfAnySizeAndAChangeOfItsOwnSize(t *testing.T) {
	t.Parallel()
	n := 6000
	if soak() {
		n = 20000
	}
	nodes, prefix := twoNodes(t)
	revision, err := nodes[0].Restore(t.Context(), document(t, manySites("n", n)...), 0)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := nodes[1].Wait(t.Context(), revision-1); err != nil || s.Len(state.KindSite) != n {
		t.Fatalf("%v, %v", s, err)
	}
	etcd := sharedCluster(t).Client(t)
	revision = mustPut(t, nodes[0], site("n-000007.test", "other.test"))
	watch := etcd.Watch(t.Context(), prefix+"/v1/", clientv3.WithPrefix(), clientv3.WithRev(revision))
	r := <-watch
	size := 0
	for _, e := range r.Events {
		size += len(e.Kv.Key) + len(e.Kv.Value)
	}
	if len(r.Events) > 5 || size > 1000 {
		t.Fatalf("a change of one site among %d writes %d keys, %d bytes", n, len(r.Events), size)
	}
}

func TestW6_ARemovedSecretIsGoneFromEtcd(t *testing.T) {
	t.Parallel()
	nodes, prefix := twoNodes(t)
	etcd := sharedCluster(t).Client(t)
	secret := &state.Secret{Name: state.PrefixImported + "c", Sealed: []byte("very private")}
	left := func() (keys []string) {
		r, err := etcd.Get(t.Context(), prefix, clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range r.Kvs {
			if strings.Contains(string(kv.Key), "/secrets/") {
				keys = append(keys, string(kv.Key))
			}
		}
		return keys
	}
	mustPut(t, nodes[0], secret)
	if got := left(); len(got) != 1 {
		t.Fatalf("keys %v", got)
	}
	revision, err := nodes[0].Update(t.Context(), func(d *state.Draft) error { return d.Delete(secret.Key()) })
	if err != nil {
		t.Fatal(err)
	}
	if got := left(); len(got) != 0 {
		t.Fatalf("left are %v", got)
	}
	if s, err := nodes[1].Wait(t.Context(), revision-1); err != nil || s.Len(state.KindSecret) != 0 {
		t.Fatalf("the other node has %d secrets, %v", s.Len(state.KindSecret), err)
	}
	// Those of a state that was replaced go with its generation.
	mustPut(t, nodes[0], secret)
	if _, err := nodes[0].Restore(t.Context(), document(t), 0); err != nil {
		t.Fatal(err)
	}
	fence, end := newTerm(t, etcd, prefix+"/leader", false)
	defer end()
	if _, err := nodes[0].Sweep(t.Context(), fence); err != nil {
		t.Fatal(err)
	}
	if got := left(); len(got) != 0 {
		t.Fatalf("left are %v", got)
	}
}

func TestW7_AChangeOfManyKeysIsOneRevision(t *testing.T) {
	t.Parallel()
	nodes, _ := twoNodes(t)
	ctx, stop := context.WithCancel(t.Context())
	var reader sync.WaitGroup
	reader.Go(func() {
		for last := int64(0); ; {
			s, err := nodes[1].Wait(ctx, last)
			if err != nil {
				return
			}
			last = s.Revision()
			if a, b, c := s.Len(state.KindSite), s.Len(state.KindSecret), s.Len(state.KindName); b != a || c != 2*a {
				t.Errorf("%d sites, %d secrets, %d names", a, b, c)
			}
			if d, ok := s.DHParams(); ok && d.PEM != fmt.Sprint(s.Len(state.KindSite)) {
				t.Errorf("%d sites with DH parameters %s", s.Len(state.KindSite), d.PEM)
			}
		}
	})
	for i := range 60 {
		mustPut(t, nodes[0], site(fmt.Sprintf("n%d.test", i), fmt.Sprintf("www.n%d.test", i)),
			&state.Secret{Name: fmt.Sprintf("s%d", i), Sealed: []byte("x")}, &state.DHParams{PEM: fmt.Sprint(i + 1)})
	}
	stop()
	reader.Wait()
}

func TestW8_OwnEventsNeverReplaceWhatIsNewer(t *testing.T) {
	t.Parallel()
	nodes, _ := twoNodes(t)
	s := nodes[0]
	var both sync.WaitGroup
	both.Go(func() {
		for i := range 60 {
			mustPut(t, s, &state.Secret{Name: fmt.Sprintf("s%d", i), Sealed: []byte("x")})
			if _, ok := s.Snapshot().Secret(fmt.Sprintf("s%d", i)); !ok {
				t.Errorf("secret %d is missing right after", i)
			}
		}
	})
	both.Go(func() {
		for i := range 60 {
			mustPut(t, s, site(fmt.Sprintf("n%d.test", i)))
			if _, ok := s.Snapshot().Site(fmt.Sprintf("n%d.test", i)); !ok {
				t.Errorf("site %d is missing right after", i)
			}
		}
	})
	both.Wait()
	if n, m := s.Snapshot().Len(state.KindSite), s.Snapshot().Len(state.KindSecret); n != 60 || m != 60 {
		t.Fatalf("%d sites, %d secrets", n, m)
	}
}

func TestW31_NobodyWaitsForALockOfANodeThatIsGone(t *testing.T) {
	t.Parallel()
	nodes, _ := twoNodes(t)
	etcd := sharedCluster(t).Client(t)
	// A node that is in the middle of a restore, and hangs there.
	now, _ := nodes[1].replica()
	hung := &restore{store: nodes[1], etcd: etcd, doc: document(t, manySites("h", 100)...), head: now.head}
	release, err := hung.stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := hung.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for i := range 20 {
		mustPut(t, nodes[0], site(fmt.Sprintf("n%d.test", i)))
	}
	if _, err := nodes[0].Restore(t.Context(), document(t, site("restored.test")), 0); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Fatalf("20 changes and a restore took %v", took)
	}
}

func TestW60_AWriteMakesNobodyReadAgain(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	nodes := []*Store{openOn(t, c.Endpoints(), Options{Prefix: "/w"}), openOn(t, c.Endpoints(), Options{Prefix: "/w", NodeName: "second"})}
	mustPut(t, nodes[0], site("a.test"))
	reads := func() float64 { return c.Metric(t, "grpc_server_handled_total", `grpc_method="Range"`) }
	before, loads := reads(), nodes[1].loads.Load()
	last := int64(0)
	for i := range 50 {
		last = mustPut(t, nodes[0], &state.Secret{Name: fmt.Sprintf("s%d", i), Sealed: []byte("x")})
	}
	if _, err := nodes[1].Wait(t.Context(), last-1); err != nil {
		t.Fatal(err)
	}
	if n := reads() - before; n != 0 || nodes[1].loads.Load() != loads {
		t.Fatalf("50 writes made %v reads, and %d loads", n, nodes[1].loads.Load()-loads)
	}
}
