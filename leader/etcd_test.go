package leader

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"statiko/etcdclient"
	"statiko/etcdstore"
	"statiko/state"
	"statiko/test/etcdtest"
)

func TestNewEtcd_NeedsToKnowWhoItIs(t *testing.T) {
	t.Parallel()
	c, err := etcdclient.Open(etcdclient.Options{Endpoints: []string{"http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	good := Options{Client: c, Sessions: etcdclient.NewSessions(c, etcdclient.SessionOptions{}), Prefix: "/p", NodeName: "a", InstanceID: "1"}
	if _, err := NewEtcd(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Options){
		"client": func(o *Options) { o.Client = nil }, "sessions": func(o *Options) { o.Sessions = nil },
		"prefix": func(o *Options) { o.Prefix = "" }, "name": func(o *Options) { o.NodeName = "" },
		"instance": func(o *Options) { o.InstanceID = "" },
	} {
		o := good
		spoil(&o)
		if _, err := NewEtcd(o); err == nil {
			t.Errorf("without its %s, an elector was made", name)
		}
	}
}

func TestElection_LeaseRevokedWhileWaiting(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	etcd := c.Client(t)
	a := startNode(t, "a", c.Endpoints())
	first := a.term(t, 10*time.Second)
	b := startNode(t, "b", c.Endpoints())
	b.waits(t, etcd)
	s, _ := b.sessions.Current()
	if _, err := etcd.Revoke(t.Context(), s.Lease()); err != nil {
		t.Fatal(err)
	}
	a.stop() // now an unaware campaign would return: elected, without a key
	first.over(t, time.Second)
	second := b.term(t, 10*time.Second)
	key, created := second.fence.Proof()
	r, err := etcd.Get(t.Context(), key)
	if err != nil || len(r.Kvs) != 1 || r.Kvs[0].CreateRevision != created {
		t.Fatalf("a phantom leads: %v, %v", r, err)
	}
	if now, _ := b.sessions.Current(); now == s || second.fence.Over() {
		t.Error("the term is not of the new session")
	}
	b.knows(t, "b")
	b.stop()
	oneAtATime(t, etcd)
}

// A candidate whose lease is revoked while it waits is in the queue again with its new lease while the leader goes on: its
// campaign with the old one has ended, although nothing happened in the election.
func TestElection_LeaseRevokedWhileWaitingIsInTheQueueAgain(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	etcd := c.Client(t)
	a := startNode(t, "a", c.Endpoints())
	first := a.term(t, 10*time.Second)
	b := startNode(t, "b", c.Endpoints())
	b.waits(t, etcd)
	s, _ := b.sessions.Current()
	if _, err := etcd.Revoke(t.Context(), s.Lease()); err != nil {
		t.Fatal(err)
	}
	b.waits(t, etcd)
	if first.fence.Over() {
		t.Error("the leader's term is over, so that nothing was shown")
	}
	a.stop()
	b.term(t, 10*time.Second)
	b.stop()
	oneAtATime(t, etcd)
}

// A node that cannot lead is no candidate; one that leads and cannot any more makes room for another, and is a candidate
// again when it can.
func TestElection_WhoCannotLeadDoesNot(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	etcd := c.Client(t)
	var unfit atomic.Bool
	unfit.Store(true)
	a := startNode(t, "a", c.Endpoints(), func(o *Options) {
		o.Fit = func() error {
			if unfit.Load() {
				return errors.New("it is too old")
			}
			return nil
		}
	})
	b := startNode(t, "b", c.Endpoints())
	first := b.term(t, 10*time.Second)
	b.knows(t, "b")
	if err := b.elector.StepDown(t.Context(), ""); !errors.Is(err, ErrNoCandidate) {
		t.Errorf("handing over to a node that cannot lead: %v", err)
	}
	if first.fence.Over() {
		t.Error("the term is over")
	}
	unfit.Store(false)
	a.waits(t, etcd)
	b.stop()
	second := a.term(t, 10*time.Second)
	d := startNode(t, "d", c.Endpoints())
	d.waits(t, etcd)
	unfit.Store(true)
	second.over(t, 10*time.Second)
	d.term(t, 10*time.Second)
	d.knows(t, "d")
	d.stop()
	a.stop()
	oneAtATime(t, etcd)
}

// open is a fence of a term that does not know that it is over, as in a process that was frozen between its look at
// the clock and its write.
type open struct{ state.KeyedFence }

func (open) Over() bool { return false }

func TestElection_LeadersLeaseRevoked(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	etcd := c.Client(t)
	a := startNode(t, "a", c.Endpoints())
	first := a.term(t, 10*time.Second)
	b := startNode(t, "b", c.Endpoints())
	b.waits(t, etcd)
	store, err := etcdstore.Open(etcdstore.Options{Client: a.client, Prefix: "/statiko", NodeName: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	eventually(t, 10*time.Second, func() error {
		if h := store.Health(); !h.Healthy {
			return errors.New(h.Reason)
		}
		return nil
	})
	add := func(domain string, f state.Fence) error {
		_, err := store.Update(t.Context(), func(d *state.Draft) error {
			return d.Put(&state.Site{Domain: domain})
		}, state.WithFence(f))
		return err
	}
	if err := add("a.example", first.fence); err != nil {
		t.Fatalf("inside the term: %v", err)
	}
	s, _ := a.sessions.Current()
	revoked := time.Now()
	if _, err := etcd.Revoke(t.Context(), s.Lease()); err != nil {
		t.Fatal(err)
	}
	first.over(t, time.Second)
	t.Logf("the term was over %v after its lease was revoked", time.Since(revoked))
	second := b.term(t, time.Second)
	for name, f := range map[string]state.Fence{"one that knows": first.fence, "one that does not": open{first.fence}} {
		if err := add("b.example", f); !errors.Is(err, state.ErrFenced) {
			t.Errorf("a late update, with %s, returned %v", name, err)
		}
	}
	if err := add("c.example", second.fence); err != nil {
		t.Errorf("inside the second term: %v", err)
	}
	if _, ok := store.Snapshot().Site("b.example"); ok {
		t.Error("a late update was made")
	}
	a.waits(t, etcd) // with a new session, and without a restart
	a.stop()
	b.stop()
	oneAtATime(t, etcd)
}

func TestElection_KeyRemovedUnderTheLeader(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	etcd := c.Client(t)
	a := startNode(t, "a", c.Endpoints())
	first := a.term(t, 10*time.Second)
	key, _ := first.fence.Proof()
	if _, err := etcd.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	first.over(t, time.Second)
	if second := a.term(t, 5*time.Second); second.created() <= first.created() {
		t.Error("the second term has the first one's key")
	}
}

func TestElection_TerminatedLeader(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	etcd := c.Client(t)
	a := startNode(t, "a", c.Endpoints())
	first := a.term(t, 10*time.Second)
	b := startNode(t, "b", c.Endpoints())
	b.waits(t, etcd)
	stopped := time.Now()
	go a.stopElector()
	second := b.term(t, 5*time.Second)
	took := second.began.Sub(stopped)
	if took > time.Second {
		t.Errorf("the next leader took %v", took)
	}
	if first.ctx.Err() == nil {
		t.Error("two lead at once")
	}
	t.Logf("the next leader took %v", took)
	first.over(t, 0)
}

func TestElection_SlowDutyHoldsUpTheNextLeaderForAMomentOnly(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	etcd := c.Client(t)
	client, err := etcdclient.Open(etcdclient.Options{Endpoints: c.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	sessions := etcdclient.NewSessions(client, etcdclient.SessionOptions{TTL: testTTL})
	slow, err := NewEtcd(Options{Client: client, Sessions: sessions, Prefix: testPrefix, NodeName: "slow", InstanceID: "1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	leads, release, done := make(chan struct{}), make(chan struct{}), make(chan struct{}, 2)
	go func() { _ = sessions.Run(ctx); done <- struct{}{} }()
	go func() {
		_ = slow.Run(ctx, map[string]Duty{"slow": func(context.Context, state.Fence) error {
			close(leads)
			<-release
			return nil
		}})
		done <- struct{}{}
	}()
	<-leads
	b := startNode(t, "b", c.Endpoints())
	b.waits(t, etcd)
	stopped := time.Now()
	cancel()
	if took := b.term(t, 5*time.Second).began.Sub(stopped); took > time.Second {
		t.Errorf("the next leader took %v", took)
	}
	close(release)
	<-done
	<-done
}

func TestElection_OnlyNodeThatMayNotLead(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	core, logs := observer.New(zapcore.WarnLevel)
	w := startNode(t, "w", c.Endpoints(), disallowed, logging(zap.New(core)))
	a := startNode(t, "a", c.Endpoints())
	first := a.term(t, 10*time.Second)
	w.knows(t, "a")
	s := w.elector.State()
	if s.InstanceID != "a-1" || time.Since(s.Since) > time.Minute || !s.NobodySince.IsZero() || !s.UnknownSince.IsZero() {
		t.Errorf("it knows %+v", s)
	}
	began := logs.Len()
	stopped := time.Now()
	a.stop()
	first.over(t, time.Second)
	w.knows(t, "")
	since := w.elector.State().NobodySince
	if since.Before(stopped) || since.After(time.Now()) {
		t.Errorf("nobody leads since %v, the last leader went at %v", since, stopped)
	}
	eventually(t, 3*testTTL, func() error {
		for _, l := range logs.All()[began:] {
			if at, ok := l.ContextMap()["since"].(time.Time); ok && at.Equal(since) {
				return nil
			}
		}
		return errors.New("the log does not say that nobody leads, and since when")
	})
	if took := time.Since(since); took < testTTL {
		t.Errorf("it was in the log after %v already", took)
	}
	if err := w.elector.StepDown(t.Context(), ""); !errors.Is(err, ErrNoLeader) {
		t.Errorf("StepDown without a leader: %v", err)
	}
	if !w.elector.State().NobodySince.Equal(since) {
		t.Error("the time since when nobody leads has changed")
	}
	b := startNode(t, "b", c.Endpoints())
	b.term(t, 5*time.Second)
	w.knows(t, "b")
	if len(w.terms) != 0 {
		t.Error("the node led that may not")
	}
}
