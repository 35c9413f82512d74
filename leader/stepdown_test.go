package leader

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/test/etcdtest"
)

func TestStepDown(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	etcd := c.Client(t)
	a := startNode(t, "a", c.Endpoints())
	term := a.term(t, 10*time.Second)
	w := startNode(t, "w", c.Endpoints(), disallowed)
	w.knows(t, "a")
	eventually(t, 10*time.Second, func() error {
		// It can know who leads before it has a lease of its own, or have lost one on a busy machine.
		err := w.elector.StepDown(t.Context(), "")
		if !errors.Is(err, ErrNoCandidate) || !strings.Contains(err.Error(), "no node but a") {
			return fmt.Errorf("with nobody else: %w", err)
		}
		return nil
	})
	nodes := map[string]*node{"a": a}
	for _, name := range []string{"b", "c", "d"} {
		n := startNode(t, name, c.Endpoints())
		n.waits(t, etcd)
		nodes[name] = n
	}
	eventually(t, 5*time.Second, func() error {
		if got := fmt.Sprint(w.elector.view.snapshot().waiting); got != "[b c d]" {
			return errors.New(got + " wait")
		}
		return nil
	})
	for _, to := range []string{"w", "nobody"} {
		err := w.elector.StepDown(t.Context(), to)
		if !errors.Is(err, ErrNoCandidate) || !strings.Contains(err.Error(), "b, c, d") {
			t.Errorf("to %q: %v", to, err)
		}
	}
	if err := w.elector.StepDown(t.Context(), "a"); err != nil || term.ctx.Err() != nil {
		t.Errorf("to who leads already: %v", err)
	}
	// The last of the queue, from each side: a node that does not lead asks, then the leader itself does.
	for i, step := range []struct{ asked, to string }{{"w", "d"}, {"d", "c"}, {"b", "a"}, {"a", "d"}} {
		asked := w
		if step.asked != "w" {
			asked = nodes[step.asked]
		}
		eventually(t, 5*time.Second, func() error {
			if got := asked.elector.view.snapshot().waiting; len(got) != 3 {
				return fmt.Errorf("%v wait", got)
			}
			return nil
		})
		before := term
		began := time.Now()
		if err := asked.elector.StepDown(t.Context(), step.to); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("step %d took %v", i, took)
		}
		before.over(t, 10*time.Millisecond)
		term = nodes[step.to].term(t, time.Second)
		w.knows(t, step.to)
	}
	// To whoever comes.
	eventually(t, 5*time.Second, func() error {
		if got := w.elector.view.snapshot().waiting; len(got) != 3 {
			return fmt.Errorf("%v wait", got)
		}
		return nil
	})
	before := term
	if err := w.elector.StepDown(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	before.over(t, 10*time.Millisecond)
	term = anyTerm(t, time.Second, a, nodes["b"], nodes["c"], nodes["d"])
	if term.node.name == "d" {
		t.Error("the leader that was asked to go came back")
	}
	if r, err := etcd.Get(t.Context(), nextKey(testPrefix)); err != nil || len(r.Kvs) != 0 {
		t.Errorf("the handover is left: %v", err)
	}
	eventually(t, 5*time.Second, func() error {
		if n := countLeases(t, etcd); n != 5 {
			return fmt.Errorf("%d leases for 5 nodes", n)
		}
		return nil
	})
	for _, n := range nodes {
		n.stop()
	}
	if _, terms := oneAtATime(t, etcd); terms < 6 {
		t.Errorf("%d terms", terms)
	}
}

// TestStepDown_WhoIsMeantDies: the others wait for it as long as one lease lives, no longer.
func TestStepDown_WhoIsMeantDies(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	etcd := c.Client(t)
	a := startNode(t, "a", c.Endpoints())
	first := a.term(t, 10*time.Second)
	b := startNode(t, "b", c.Endpoints())
	b.waits(t, etcd)
	// A candidate that will never lead: its key only, as of a node that was just killed.
	lease, err := etcd.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	ghost := testPrefix + "/election/1"
	if _, err := etcd.Put(t.Context(), ghost, `{"node":"ghost","instance":"0"}`, clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, func() error {
		if got := fmt.Sprint(b.elector.view.snapshot().waiting); got != "[b ghost]" {
			return errors.New(got)
		}
		return nil
	})
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- b.elector.StepDown(context.Background(), "ghost") }()
	first.over(t, time.Second)
	eventually(t, time.Second, func() error {
		if err := a.elector.StepDown(t.Context(), "b"); !errors.Is(err, ErrNoLeader) {
			return err
		}
		return nil
	})
	if s := a.elector.State(); s.Name != "" || s.NobodySince.IsZero() {
		t.Errorf("while nobody leads, it knows %+v", s)
	}
	if _, err := etcd.Delete(t.Context(), ghost); err != nil {
		t.Fatal(err)
	}
	next := anyTerm(t, 3*testTTL, a, b)
	if took := next.began.Sub(began); took < testTTL-time.Second || took > testTTL+2*time.Second {
		t.Errorf("the others came after %v", took)
	}
	if err := <-done; !errors.Is(err, ErrNotTaken) {
		t.Errorf("StepDown: %v", err)
	}
}

func TestStepDown_TwoAtOnce(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	etcd := c.Client(t)
	a := startNode(t, "a", c.Endpoints())
	a.term(t, 10*time.Second)
	b := startNode(t, "b", c.Endpoints())
	d := startNode(t, "d", c.Endpoints())
	b.waits(t, etcd)
	d.waits(t, etcd)
	for _, n := range []*node{a, b} {
		eventually(t, 5*time.Second, func() error {
			if got := n.elector.view.snapshot().waiting; len(got) != 2 {
				return fmt.Errorf("%v wait", got)
			}
			return nil
		})
	}
	results := make(chan error, 2)
	go func() { results <- a.elector.StepDown(context.Background(), "b") }()
	go func() { results <- b.elector.StepDown(context.Background(), "d") }()
	done := 0
	for range 2 {
		if err := <-results; err == nil {
			done++
		} else if !errors.Is(err, ErrHandover) && !errors.Is(err, ErrNoLeader) && !errors.Is(err, ErrNoCandidate) && !errors.Is(err, ErrNotTaken) {
			t.Errorf("StepDown: %v", err)
		}
	}
	if done == 0 {
		t.Error("neither came through")
	}
	anyTerm(t, 10*time.Second, b, d)
}
