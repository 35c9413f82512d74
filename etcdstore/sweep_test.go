package etcdstore

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/state"
	"statiko/test/etcdtest"
)

func TestSweep_RemovesOldGenerationsInSmallStepsAndIsFenced(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	etcd := c.Client(t)
	s := openOn(t, c.Endpoints(), Options{Prefix: prefix})
	for i := range 3 {
		if _, err := s.Restore(t.Context(), document(t, manySites(fmt.Sprintf("n%d", i), 700)...), 0); err != nil {
			t.Fatal(err)
		}
	}
	mustPut(t, s, site("kept.test"))
	// Its holder does not know that the term is over: etcd does.
	over, end := newTerm(t, etcd, prefix+"/leader", true)
	end()
	if _, err := s.Sweep(t.Context(), over); err != nil {
		t.Fatal(err)
	}
	if got := generationsIn(t, etcd, prefix); len(got) != 3 {
		t.Fatalf("after a term the generations are %v", got)
	}
	before := c.Client(t)
	fence, end := newTerm(t, etcd, prefix+"/leader", false)
	defer end()
	watch := before.Watch(t.Context(), prefix+"/v1/g/", clientv3.WithPrefix())
	n, err := s.Sweep(t.Context(), fence)
	if err != nil || n != 2*3*700 {
		t.Fatalf("swept %d, %v", n, err)
	}
	for seen := 0; seen < int(n); {
		r := <-watch
		perRevision := map[int64]int{}
		for _, e := range r.Events {
			if perRevision[e.Kv.ModRevision]++; perRevision[e.Kv.ModRevision] > sweepKeys {
				t.Fatalf("more than %d keys are removed at once", sweepKeys)
			}
			seen++
		}
	}
	if got := generationsIn(t, etcd, prefix); len(got) != 1 || got[s.Snapshot().Head().Generation] != 3*700+2 {
		t.Fatalf("the generations are %v", got)
	}
	if n := s.Snapshot().Len(state.KindSite); n != 701 {
		t.Fatalf("%d sites", n)
	}
}

func TestSweepDuty_RunsAfterEachRestoreAndEndsWithItsTerm(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	etcd := c.Client(t)
	s := openOn(t, c.Endpoints(), Options{Prefix: prefix})
	fence, end := newTerm(t, etcd, prefix+"/leader", false)
	defer end()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.SweepDuty(ctx, fence) }()
	for i := range 2 {
		if _, err := s.Restore(t.Context(), document(t, manySites(fmt.Sprintf("n%d", i), 200)...), 0); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 20*time.Second, func() error {
		if got := generationsIn(t, etcd, prefix); len(got) != 1 {
			return fmt.Errorf("the generations are %v", got)
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// What a restore wrote whose writer is gone is removed soon after its lease has ended, although nothing else happens.
func TestSweepDuty_ComesBackForARestoreWhoseWriterIsGone(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	etcd := c.Client(t)
	s := openOn(t, c.Endpoints(), Options{Prefix: prefix})
	s.sweepAgain = 500 * time.Millisecond
	mustPut(t, s, site("before.test"))
	fence, end := newTerm(t, etcd, prefix+"/leader", false)
	defer end()
	lease, err := etcd.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.Put(t.Context(), prefix+"/v1/staging/77", "gone", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	putRaw(t, etcd, prefix+"/v1/g/77/sites/half.test", `{"domain":"half.test"}`)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.SweepDuty(ctx, fence) }()
	if _, err := s.Restore(t.Context(), document(t, site("a.test")), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() error {
		if got := generationsIn(t, etcd, prefix); len(got) != 2 {
			return fmt.Errorf("the generations are %v: the one in force, and the one being written", got)
		}
		return nil
	})
	// The one before is swept, and in a moment the one being written was passed over.
	if err := sleep(t.Context(), 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.Revoke(t.Context(), lease.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() error {
		if got := generationsIn(t, etcd, prefix); len(got) != 1 {
			return fmt.Errorf("the generations are %v", got)
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// What a restore replaced is removed soon after etcd takes changes again, if it took none when the restore was made.
func TestSweepDuty_ComesBackWhenEtcdTakesChangesAgain(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{Flags: []string{"--quota-backend-bytes=2097152"}})
	etcd := c.Client(t)
	s := openOn(t, c.Endpoints(), Options{Prefix: "/q"})
	mustPut(t, s, site("before.test"))
	if _, err := s.Restore(t.Context(), document(t, site("a.test")), 0); err != nil {
		t.Fatal(err)
	}
	fence, end := newTerm(t, etcd, "/q/leader", false)
	defer end()
	runOutOfSpace(t, s, etcd)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.SweepDuty(ctx, fence) }()
	giveSpace(t, c, etcd)
	eventually(t, 20*time.Second, func() error {
		if got := generationsIn(t, etcd, "/q"); len(got) != 1 {
			return fmt.Errorf("the generations are %v", got)
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
