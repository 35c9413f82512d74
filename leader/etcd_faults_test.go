package leader

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"statiko/etcdclient"
	"statiko/state"
	"statiko/test/etcdtest"
)

func TestElection_EtcdFreezes(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	a := startNode(t, "a", c.Endpoints())
	first := a.term(t, 10*time.Second)
	a.knows(t, "a")
	c.Member(0).Stop(t)
	frozen := time.Now()
	select {
	case <-first.ctx.Done():
	case <-time.After(2 * testTTL):
		t.Fatal("the term did not end")
	}
	if took := time.Since(frozen); took > testTTL-200*time.Millisecond {
		t.Errorf("the term ended after %v, its lease lives %v", took, testTTL)
	}
	if s := a.elector.State(); s.UnknownSince.Before(frozen) || s.Name != "a" {
		t.Errorf("it knows %+v", s)
	}
	a.knows(t, "") // a lease later
	c.Member(0).Cont(t)
	a.term(t, 15*time.Second)
	a.knows(t, "a")
}

func TestElection_EtcdRestarts(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	a := startNode(t, "a", c.Endpoints())
	watcher := startNode(t, "w", c.Endpoints(), disallowed)
	first := a.term(t, 10*time.Second)
	c.Member(0).Kill()
	time.Sleep(2 * testTTL)
	if first.ctx.Err() == nil {
		t.Error("the term lasts without etcd")
	}
	watcher.knows(t, "")
	c.Member(0).Restart(t)
	c.AwaitReady(t)
	a.term(t, 15*time.Second)
	watcher.knows(t, "a")
	a.stop()
	oneAtATime(t, c.Client(t))
}

func TestElection_EtcdWiped(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	a := startNode(t, "a", c.Endpoints())
	first := a.term(t, 10*time.Second)
	c.Member(0).Kill()
	c.Member(0).Wipe(t)
	c.Member(0).Restart(t)
	c.AwaitReady(t)
	second := a.term(t, 15*time.Second)
	if first.ctx.Err() == nil {
		t.Error("the term of an etcd that is no more lasts")
	}
	a.knows(t, "a")
	if second.fence.Over() {
		t.Error("the new term is over")
	}
}

func TestElection_WithoutEtcdAtFirst(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	c.Member(0).Kill()
	a := startNode(t, "a", c.Endpoints())
	if s := a.elector.State(); s.UnknownSince.IsZero() || s.Name != "" || !s.NobodySince.IsZero() {
		t.Errorf("it knows %+v", s)
	}
	if err := a.elector.StepDown(t.Context(), ""); !errors.Is(err, state.ErrUnavailable) {
		t.Errorf("StepDown: %v", err)
	}
	c.Member(0).Restart(t)
	a.term(t, 15*time.Second)
}

func TestElection_LeaderOfEtcdMoves(t *testing.T) {
	t.Parallel()
	o := quick
	o.Members = 3
	c := etcdtest.Start(t, o)
	a := startNode(t, "a", c.Endpoints())
	first := a.term(t, 10*time.Second)
	b := startNode(t, "b", c.Endpoints())
	b.waits(t, c.Client(t))
	for range 3 {
		moveLeader(t, c)
		time.Sleep(testTTL / 2)
	}
	if first.ctx.Err() != nil || len(a.terms)+len(b.terms) != 0 {
		t.Fatalf("the term ended: %v", context.Cause(first.ctx))
	}
	b.knows(t, "a")
	a.stop()
	b.term(t, 5*time.Second)
}

// moveLeader makes another member etcd's leader.
func moveLeader(t *testing.T, c *etcdtest.Cluster) {
	t.Helper()
	etcd := c.Client(t)
	for _, e := range c.Endpoints() {
		s, err := etcd.Status(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if s.Leader != s.Header.MemberId {
			continue
		}
		members, err := etcd.MemberList(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leader, err := clientv3.New(clientv3.Config{Endpoints: []string{e}, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		defer leader.Close()
		for _, m := range members.Members {
			if m.ID != s.Leader {
				if _, err := leader.MoveLeader(t.Context(), m.ID); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
	}
	t.Fatal("etcd has no leader")
}

func TestElection_HistoryCompacted(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, quick)
	etcd := c.Client(t)
	p := c.Member(0).Proxy(t)
	a := startNode(t, "a", c.Endpoints())
	a.term(t, 10*time.Second)
	b := startNode(t, "b", []string{p.Endpoint()})
	w := startNode(t, "w", []string{p.Endpoint()}, disallowed)
	b.waits(t, etcd)
	w.knows(t, "a")
	p.Cut() // short enough for the session to live
	var newest int64
	for range 50 {
		if _, err := etcd.Put(t.Context(), testPrefix+"/election/0", ""); err != nil {
			t.Fatal(err)
		}
		r, err := etcd.Delete(t.Context(), testPrefix+"/election/0")
		if err != nil {
			t.Fatal(err)
		}
		newest = r.Header.Revision
	}
	if _, err := etcd.Compact(t.Context(), newest); err != nil {
		t.Fatal(err)
	}
	p.Mend()
	time.Sleep(300 * time.Millisecond)
	a.stop()
	b.term(t, 10*time.Second)
	w.knows(t, "b")
}

func TestElection_TokensExpire(t *testing.T) {
	t.Parallel()
	o := quick
	o.RootPassword, o.Flags = "geheim", append([]string{"--auth-token-ttl=1"}, quick.Flags...)
	c := etcdtest.Start(t, o)
	login := func(name string, change ...func(*Options)) *node {
		client, err := etcdclient.Open(etcdclient.Options{Endpoints: c.Endpoints(), Timeout: 3 * time.Second, Username: "root", Password: "geheim"})
		if err != nil {
			t.Fatal(err)
		}
		return startNodeOn(t, name, client, change...)
	}
	a := login("a")
	first := a.term(t, 10*time.Second)
	b, w := login("b"), login("w", disallowed)
	b.waits(t, c.Client(t))
	w.knows(t, "a")
	time.Sleep(3 * time.Second) // three lives of a token
	if first.ctx.Err() != nil {
		t.Errorf("the term ended: %v", context.Cause(first.ctx))
	}
	a.stop()
	b.term(t, 5*time.Second)
	w.knows(t, "b")
}
