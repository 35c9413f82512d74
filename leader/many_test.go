package leader

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"statiko/etcdclient"
	"statiko/test/etcdtest"
)

// TestElection_NeverTwoTermsAtOnce ends terms in every way that a node can know of, from both sides, and looks at the
// moments when contexts of terms began and ended, and at the order of the fenced writes.
func TestElection_NeverTwoTermsAtOnce(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	etcd := c.Client(t)
	var terms []*ran
	nodes := []*node{startNode(t, "a", c.Endpoints()), startNode(t, "b", c.Endpoints())}
	for i := range 12 {
		r := anyTerm(t, 10*time.Second, nodes...)
		terms = append(terms, r)
		other := nodes[0]
		if r.node == other {
			other = nodes[1]
		}
		other.waits(t, etcd)
		switch i % 3 {
		case 0:
			at := slices.Index(nodes, r.node)
			r.node.stop()
			nodes[at] = startNode(t, r.node.name, c.Endpoints())
		case 1:
			eventually(t, 5*time.Second, func() error { return other.elector.StepDown(t.Context(), "") })
		case 2: // both at once
			done := make(chan struct{})
			go func() { defer close(done); _ = other.elector.StepDown(context.Background(), other.name) }()
			time.Sleep(rand.N(20 * time.Millisecond))
			at := slices.Index(nodes, r.node)
			r.node.stop()
			<-done
			nodes[at] = startNode(t, r.node.name, c.Endpoints())
		}
	}
	for _, n := range nodes {
		n.stop()
		for len(n.terms) > 0 {
			terms = append(terms, <-n.terms)
		}
	}
	slices.SortFunc(terms, func(a, b *ran) int { return a.began.Compare(b.began) })
	for i, r := range terms {
		<-r.ended
		if i == 0 {
			continue
		}
		// A context's end is noted by a goroutine that has to be woken first.
		if late := terms[i-1].at.Sub(r.began); late > 5*time.Millisecond {
			t.Errorf("term %d of %s began %v before that of %s had ended", i, r.node.name, late, terms[i-1].node.name)
		}
	}
	if len(terms) < 12 {
		t.Errorf("%d terms", len(terms))
	}
	_, wrote := oneAtATime(t, etcd)
	t.Logf("%d terms, %d of them wrote", len(terms), wrote)
	if n := countLeases(t, etcd); n != 0 {
		t.Errorf("%d leases are left", n)
	}
}

func TestElection_LeavesNothingWhenStoppedAtAnyMoment(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	etcd := c.Client(t)
	client, err := etcdclient.Open(etcdclient.Options{Endpoints: c.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range 60 {
		sessions := etcdclient.NewSessions(client, etcdclient.SessionOptions{TTL: time.Minute})
		e, err := NewEtcd(Options{Client: client, Sessions: sessions, Prefix: testPrefix, NodeName: "a", InstanceID: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(15*time.Millisecond))
		var done sync.WaitGroup
		done.Go(func() { _ = sessions.Run(ctx) })
		if err := e.Run(ctx, map[string]Duty{"none": untilOver}); err != nil {
			t.Error(err)
		}
		done.Wait()
		cancel()
	}
	if n := countLeases(t, etcd); n != 0 {
		t.Errorf("%d leases are left", n)
	}
}
