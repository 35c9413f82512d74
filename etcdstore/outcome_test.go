package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/state"
	"statiko/test/etcdtest"
)

// Each update of a frozen etcd reports what happened to it, or that it does not know.
func TestCommit_OutcomesOfUpdatesCutOffByAFrozenServerAreTrue(t *testing.T) {
	t.Parallel()
	total := 50
	if soak() {
		total = 1000
	}
	c := etcdtest.Start(t, etcdtest.Options{})
	m := c.Member(0)
	nodes := []*Store{openOn(t, c.Endpoints(), Options{Prefix: "/o"}), openOn(t, c.Endpoints(), Options{Prefix: "/o", NodeName: "second"})}
	outcomes := map[string]error{}
	var mu sync.Mutex
	const atOnce = 10
	for sent := 0; sent < total; sent += atOnce {
		for _, s := range nodes {
			awaitHealthy(t, s)
		}
		var updates sync.WaitGroup
		for i := range atOnce {
			updates.Go(func() {
				domain := fmt.Sprintf("n%d.test", sent+i)
				_, err := put(nodes[i%2], site(domain, "www."+domain))
				mu.Lock()
				defer mu.Unlock()
				outcomes[domain] = err
			})
			if i == atOnce/2 {
				time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond) // Where it is cut off is up to chance.
				m.Stop(t)
			}
		}
		// Some freezes end before the updates give up, some after.
		frozen := testTimeout + time.Second
		if sent/atOnce%2 == 1 {
			frozen = time.Duration(rand.Int64N(int64(testTimeout)))
		}
		time.Sleep(frozen)
		m.Cont(t)
		updates.Wait()
	}
	for _, s := range nodes {
		awaitHealthy(t, s)
	}
	revision := mustPut(t, nodes[0], site("last.test"))
	if _, err := nodes[1].Wait(t.Context(), revision-1); err != nil {
		t.Fatal(err)
	}
	made, refused, unknown, unknownMade := 0, 0, 0, 0
	fresh := openOn(t, c.Endpoints(), Options{Prefix: "/o", NodeName: "third"})
	for domain, err := range outcomes {
		_, there := fresh.Snapshot().Site(domain)
		for _, s := range nodes {
			if _, ok := s.Snapshot().Site(domain); ok != there {
				t.Errorf("%s: %v on one node, %v on another", domain, ok, there)
			}
		}
		switch {
		case err == nil:
			made++
			if !there {
				t.Errorf("%s was acknowledged, and is not there", domain)
			}
		case errors.Is(err, state.ErrUnavailable):
			refused++
			if there {
				t.Errorf("%s was refused, and is there: %v", domain, err)
			}
		case errors.Is(err, state.ErrUnknown):
			if unknown++; there {
				unknownMade++
			}
		default:
			t.Errorf("%s: %v", domain, err)
		}
	}
	t.Logf("of %d updates %d were made, %d refused, %d of unknown outcome, of which %d were made", len(outcomes), made, refused, unknown, unknownMade)
	if made == 0 || made == len(outcomes) {
		t.Error("nothing was cut off, or everything")
	}
}

// An attempt that was cut off and arrives when its update was already refused must not be made any more, even if all
// that it compared is again as it was: somebody created and removed the same site in between.
func TestCommit_ALateAttemptOfARefusedUpdateIsNotMade(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	s := openOn(t, c.Endpoints(), Options{Prefix: prefix})
	other := openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "other"})
	// The transaction of an update that is cut off at its first attempt.
	committer := &capture{Store: s}
	_, err := state.RunUpdate(t.Context(), committer, func(d *state.Draft) error {
		if _, ok := d.Site("a.test"); ok {
			return errors.New("it exists")
		}
		return d.Put(site("a.test"))
	})
	late := committer.commit
	if err == nil || late == nil {
		t.Fatalf("got %v", err)
	}
	late.uncertain = true
	// Somebody is quicker, and the repetition is refused.
	mustPut(t, other, site("a.test"))
	if _, err := late.run(t.Context()); !errors.Is(err, state.ErrConflict) {
		t.Fatalf("the repetition got %v", err)
	}
	if _, err := other.Update(t.Context(), func(d *state.Draft) error { return d.Delete(site("a.test").Key()) }); err != nil {
		t.Fatal(err)
	}
	// Now the first attempt arrives.
	etcd, err := s.client()
	if err != nil {
		t.Fatal(err)
	}
	r, err := etcd.Txn(t.Context()).If(late.compares...).Then(late.then...).Commit()
	if err != nil || r.Succeeded {
		t.Fatalf("the late attempt was made: %v, %v", r, err)
	}
	// Both nodes go on, with equal revisions.
	revision := mustPut(t, s, site("b.test"))
	if _, err := other.Wait(t.Context(), revision-1); err != nil {
		t.Fatal(err)
	}
	awaitSites(t, s, "b.test")
	awaitSites(t, other, "b.test")
}

// Of the attempts of one update, which all may arrive late, one is made: what somebody has undone since does not come back.
func TestCommit_OfManyAttemptsOneIsMade(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]struct{ repetitionFirst bool }{
		"the first attempt arrives after the repetition": {true},
		"a repetition arrives after the first attempt":   {false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, prefix := sharedCluster(t), newPrefix()
			s := openOn(t, c.Endpoints(), Options{Prefix: prefix})
			other := openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "other"})
			mustPut(t, s, site("before.test"))
			committer := &capture{Store: s}
			if _, err := state.RunUpdate(t.Context(), committer, func(d *state.Draft) error { return d.Put(site("a.test")) }); err == nil {
				t.Fatal("it was not captured")
			}
			sent := committer.commit
			attempts := []func() (*clientv3.TxnResponse, error){
				func() (*clientv3.TxnResponse, error) { sent.uncertain = false; return sent.attempt(t.Context(), 0) },
				func() (*clientv3.TxnResponse, error) { sent.uncertain = true; return sent.attempt(t.Context(), 1) },
			}
			if order.repetitionFirst {
				slices.Reverse(attempts)
			}
			if r, err := attempts[0](); err != nil || !r.Succeeded {
				t.Fatalf("the one that arrives first: %v, %v", r, err)
			}
			awaitSites(t, other, "a.test", "before.test")
			if _, err := other.Update(t.Context(), func(d *state.Draft) error { return d.Delete(site("a.test").Key()) }); err != nil {
				t.Fatal(err)
			}
			if r, err := attempts[1](); err != nil || r.Succeeded {
				t.Errorf("the one that arrives later was made: %v, %v", r, err)
			}
			// Both nodes go on.
			mustPut(t, s, site("b.test"))
			awaitSites(t, other, "b.test", "before.test")
			awaitSites(t, s, "b.test", "before.test")
		})
	}
}

// capture keeps the first commit instead of sending it.
type capture struct {
	*Store
	commit *commit
}

func (c *capture) Commit(_ context.Context, t *state.Txn) (int64, error) {
	etcd, err := c.client()
	if err != nil {
		return 0, err
	}
	now, _ := c.replica()
	c.commit = &commit{store: c.Store, etcd: etcd, txn: t, id: "captured", head: now.head, loads: c.loads.Load()}
	c.commit.build(now)
	return 0, errors.New("captured")
}

// An attempt was made although its answer was lost, and others came after it.
func TestCommit_ALostAnswerIsFoundAmongLaterOperations(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	s := openOn(t, c.Endpoints(), Options{Prefix: prefix})
	for name, later := range map[string]int{"last": 0, "followed": 3} {
		// A change of its own has the store know its newest cut.
		mustPut(t, s, site("before-"+name+".test"))
		committer := &capture{Store: s}
		if _, err := state.RunUpdate(t.Context(), committer, func(d *state.Draft) error { return d.Put(site(name + ".test")) }); err == nil {
			t.Fatal("it was not captured")
		}
		lost := committer.commit
		lost.id = "lost-" + name
		lost.then[len(lost.then)-1] = clientv3.OpPut(s.keys.op("node-1"), lost.id)
		r, err := lost.attempt(t.Context(), 0)
		if err != nil || !r.Succeeded {
			t.Fatalf("%v, %v", r, err)
		}
		for i := range later {
			mustPut(t, s, site(fmt.Sprintf("later%d.test", i)))
		}
		lost.uncertain = true
		revision, err := lost.run(t.Context())
		if err != nil || revision != r.Header.Revision {
			t.Fatalf("%s: revision %d, %v; it was made at %d", name, revision, err, r.Header.Revision)
		}
	}
}

func TestCommit_AFenceThatOnlyEtcdKnowsToBeOver(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	etcd := c.Client(t)
	s := openOn(t, c.Endpoints(), Options{Prefix: prefix})
	fence, end := newTerm(t, etcd, prefix+"/leader", true)
	write := func(domain string) error {
		_, err := s.Update(t.Context(), func(d *state.Draft) error { return d.Put(site(domain)) }, state.WithFence(fence))
		return err
	}
	if err := write("a.test"); err != nil {
		t.Fatal(err)
	}
	end()
	if err := write("b.test"); !errors.Is(err, state.ErrFenced) {
		t.Fatalf("after the term: %v", err)
	}
	// Another leader has the same key now.
	_, endNext := newTerm(t, etcd, prefix+"/leader", true)
	defer endNext()
	if err := write("b.test"); !errors.Is(err, state.ErrFenced) {
		t.Fatalf("in the next term: %v", err)
	}
	awaitSites(t, s, "a.test")
}

// A use and a removal race on two nodes; whoever is second is refused.
func TestGuards_UseAndRemovalOnTwoNodes(t *testing.T) {
	t.Parallel()
	rounds := 60
	if soak() {
		rounds = 1000
	}
	c, prefix := sharedCluster(t), newPrefix()
	nodes := []*Store{openOn(t, c.Endpoints(), Options{Prefix: prefix}), openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "second"})}
	certificate := &state.Secret{Name: state.PrefixImported + "c", Sealed: []byte("x")}
	used := 0
	for round := range rounds {
		revision := mustPut(t, nodes[0], certificate)
		if _, err := nodes[1].Wait(t.Context(), revision-1); err != nil {
			t.Fatal(err)
		}
		user := &state.Site{Domain: fmt.Sprintf("u%d.test", round), TLS: &state.SiteTLS{Type: state.TLSImported, Certificate: "c"}}
		var both sync.WaitGroup
		var useErr, removeErr error
		both.Go(func() { _, useErr = put(nodes[round%2], user) })
		both.Go(func() {
			_, removeErr = nodes[1-round%2].Update(context.Background(), func(d *state.Draft) error { return d.Delete(certificate.Key()) })
		})
		both.Wait()
		switch {
		case useErr == nil && errors.Is(removeErr, state.ErrInUse):
			used++
			if _, err := nodes[round%2].Update(t.Context(), func(d *state.Draft) error { return d.Delete(user.Key()) }); err != nil {
				t.Fatal(err)
			}
		case removeErr == nil && errors.Is(useErr, state.ErrNotFound):
		default:
			t.Fatalf("round %d: using it gave %v, removing it %v", round, useErr, removeErr)
		}
	}
	t.Logf("the user was first in %d of %d rounds", used, rounds)
}
