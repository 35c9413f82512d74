package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestStatuses_EveryNodeSeesEveryNode(t *testing.T) {
	t.Parallel()
	_, a, b, c := three(t)
	revision := a.put("one.test")
	for _, n := range []*testNode{a, b, c} {
		eventually(t, patience, func() error {
			all := n.cluster.Statuses(t.Context())
			if len(all) != 3 {
				return fmt.Errorf("%s sees %d members", n.name, len(all))
			}
			for i, want := range []*testNode{a, b, c} {
				s := all[i]
				if s.Name != want.name || s.InstanceID != want.id || s.State != StateUp || s.Reason != "" || s.Node == nil ||
					s.Node.Full == nil || s.Address != want.api.URL || s.Self != (n == want) || s.Since.IsZero() {
					return fmt.Errorf("%s sees %+v", n.name, s)
				}
				if s.Node.Applied < revision || s.Lag != 0 || s.Lagging || s.Node.State < revision {
					return fmt.Errorf("%s sees %s at %+v", n.name, s.Name, s.Node)
				}
			}
			return nil
		})
	}
}

func TestStatuses_AbsentMembersAreListedWithTheReason(t *testing.T) {
	t.Parallel()
	_, a, b, c := three(t)
	b.stop()
	eventually(t, patience, func() error {
		s := find(t, a.cluster.Statuses(t.Context()), "b")
		if s.State != StateDown || !strings.Contains(s.Reason, "stopped at") || s.Node != nil || !s.Stopped {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	// c is registered, but nobody answers in time.
	c.silent.Store(true)
	began := time.Now()
	s := find(t, a.cluster.Statuses(t.Context()), "c")
	if took := time.Since(began); took > AskTimeout+patience {
		t.Errorf("a silent member took %v", took)
	}
	if s.State != StateUnreachable || !strings.Contains(s.Reason, "in time") {
		t.Errorf("a silent member: %s, %s", s.State, s.Reason)
	}
	// And then it is gone without a word.
	c.kill()
	eventually(t, patience, func() error {
		if s := find(t, a.cluster.Statuses(t.Context()), "c"); s.State != StateDown || s.Stopped || s.Reason == "" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// What lags is found although it says itself that it is well, and a node that is behind only for a moment is not.
func TestStatuses_LaggingIsFlagged(t *testing.T) {
	t.Parallel()
	etcd, c := startEtcd(t), &clock{}
	timed := func(o *Options) { o.Now = c.now }
	a := startNode(t, etcd.Endpoints()[0], "a", newUUID(), timed)
	b := startNode(t, etcd.Endpoints()[0], "b", newUUID(), timed)
	registered(t, a, b)
	b.stuckAt.Store(b.store.Snapshot().Revision())
	revision := a.put("one.test")
	eventually(t, patience, func() error {
		if s := find(t, a.cluster.Statuses(t.Context()), "b"); s.Lag == 0 || s.Node.BehindSince == nil {
			return fmt.Errorf("%+v of %d", s.Node, revision)
		}
		return nil
	})
	c.forward(lagAfter / 2)
	if s := find(t, a.cluster.Statuses(t.Context()), "b"); s.Lagging {
		t.Error("flagged too soon")
	}
	c.forward(lagAfter / 2)
	// The node that is asked sees it, and the node itself.
	for _, n := range []*testNode{a, b} {
		if s := find(t, n.cluster.Statuses(t.Context()), "b"); !s.Lagging || s.Lag == 0 {
			t.Errorf("%s does not see that b lags: %+v", n.name, s)
		}
		if s := find(t, n.cluster.Statuses(t.Context()), "a"); s.Lagging || s.Lag != 0 {
			t.Errorf("%s sees a lag of a: %+v", n.name, s)
		}
	}
	b.stuckAt.Store(0)
	eventually(t, patience, func() error {
		if s := find(t, a.cluster.Statuses(t.Context()), "b"); s.Lagging || s.Lag != 0 || s.Node.BehindSince != nil {
			return fmt.Errorf("%+v", s.Node)
		}
		return nil
	})
}

// Members that come and go change the revision, but not the sites: nobody lags because of them.
func TestStatuses_MembersAreNoLag(t *testing.T) {
	t.Parallel()
	etcd, a, b, _ := three(t)
	a.put("one.test")
	eventually(t, patience, func() error {
		if s := find(t, b.cluster.Statuses(t.Context()), "b"); s.Lag != 0 {
			return fmt.Errorf("lag %d", s.Lag)
		}
		return nil
	})
	b.stuckAt.Store(b.store.Snapshot().Revision())
	d := startNode(t, etcd.Endpoints()[0], "d", newUUID(), nil)
	registered(t, a, d)
	if a.store.Snapshot().Revision() <= b.stuckAt.Load() {
		t.Fatal("the revision did not grow")
	}
	if s := find(t, a.cluster.Statuses(t.Context()), "b"); s.Lag != 0 || s.Node.BehindSince != nil {
		t.Errorf("lag %d, %+v", s.Lag, s.Node)
	}
}

// Weakness W45 of the earlier program: after etcd was back, the cluster's status failed for up to five minutes. Here
// it is answered while etcd is away, and right within seconds afterwards.
func TestW45_StatusesSurviveEtcd(t *testing.T) {
	t.Parallel()
	etcd, a, b, c := three(t)
	etcd.Member(0).Kill()
	for deadline := time.Now().Add(2 * ttl); time.Now().Before(deadline); { // beyond the end of all leases
		eventually(t, patience, func() error {
			all := a.cluster.Statuses(t.Context())
			if len(all) != 3 {
				t.Fatalf("without etcd: %+v", all)
			}
			for _, s := range all {
				if s.Node == nil || s.State != StateUp && s.State != StateUnregistered {
					return fmt.Errorf("without etcd, %s is %s: %s", s.Name, s.State, s.Reason)
				}
			}
			return nil
		})
		time.Sleep(50 * time.Millisecond)
	}
	eventually(t, patience, func() error {
		if s := find(t, a.cluster.Statuses(t.Context()), "a"); s.State != StateUnregistered || s.Node.Store.Healthy {
			return fmt.Errorf("without etcd: %+v", s)
		}
		return nil
	})
	etcd.Member(0).Restart(t)
	etcd.AwaitReady(t)
	began := time.Now()
	for _, n := range []*testNode{a, b, c} {
		eventually(t, patience, func() error {
			for _, s := range n.cluster.Statuses(t.Context()) {
				if s.State != StateUp || !s.Node.Store.Healthy {
					return fmt.Errorf("%s sees %s as %s: %s", n.name, s.Name, s.State, s.Reason)
				}
			}
			return nil
		})
	}
	t.Logf("all right %v after etcd was back", time.Since(began).Round(time.Millisecond))
}

// A node that only lost its way to etcd is told from one that is gone.
func TestStatuses_CutOffFromEtcd(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	proxy := etcd.Member(0).Proxy(t)
	a := startNode(t, etcd.Endpoints()[0], "a", newUUID(), nil)
	b := startNode(t, proxy.Endpoint(), "b", newUUID(), nil)
	registered(t, a, b)
	proxy.Cut()
	eventually(t, patience, func() error {
		s := find(t, a.cluster.Statuses(t.Context()), "b")
		if s.State != StateUnregistered || s.Node == nil || s.Reason == "" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	// What it does not learn of is not applied, and others see that although it cannot.
	a.put("one.test")
	if s := find(t, a.cluster.Statuses(t.Context()), "b"); s.Lag == 0 {
		t.Errorf("%+v", s)
	}
	waiting := a.cluster.WaitApplied(t.Context(), a.put("two.test"), "")
	if len(waiting) != 1 || waiting[0].Node != "b" || !waiting[0].Absent {
		t.Errorf("waiting for %+v", waiting)
	}
	proxy.Mend()
	registered(t, a, b)
}

func TestQuery_AsURLAndBack(t *testing.T) {
	t.Parallel()
	for _, q := range []Query{
		{}, {Full: true}, {Unwell: true}, {Revision: 7}, {Revision: 1 << 42, Domain: "a b&c.test", Wait: 1500 * time.Millisecond, Full: true},
	} {
		if got, err := ParseQuery(q.values()); err != nil || got != q {
			t.Errorf("%+v became %+v, %v", q, got, err)
		}
	}
	for name, text := range map[string]string{"wait": "NaN", "revision": "-1"} {
		v := Query{}.values()
		v.Set(name, text)
		if _, err := ParseQuery(v); err == nil {
			t.Errorf("%s=%s is taken", name, text)
		}
	}
	v := Query{Revision: 1}.values()
	v.Set("wait", "1e300")
	if q, err := ParseQuery(v); err != nil || q.Wait != MaxWait {
		t.Errorf("a long wait became %v, %v", q.Wait, err)
	}
}
