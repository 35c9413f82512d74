package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"statiko/api"
)

func waitFor(t testing.TB, n *testNode, revision int64, domain string, d time.Duration) ([]api.Waiting, time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	began := time.Now()
	waiting := n.cluster.WaitApplied(ctx, revision, domain)
	return waiting, time.Since(began)
}

func TestWaitApplied_ReturnsWhenAllHave(t *testing.T) {
	t.Parallel()
	_, a, b, c := three(t)
	for range 20 {
		if waiting, _ := waitFor(t, b, a.put("x"+strings.ToLower(newUUID()[:8])+".test"), "", patience); len(waiting) > 0 {
			t.Fatalf("waiting for %+v", waiting)
		}
	}
	// It waits for the slowest, and not longer.
	c.stuckAt.Store(c.store.Snapshot().Revision())
	revision := a.put("one.test")
	release := time.AfterFunc(700*time.Millisecond, func() { c.stuckAt.Store(0) })
	defer release.Stop()
	waiting, took := waitFor(t, a, revision, "one.test", patience)
	if len(waiting) > 0 || took < 500*time.Millisecond || took > patience {
		t.Errorf("after %v: waiting for %+v", took, waiting)
	}
}

func TestWaitApplied_NamesStragglersFaultsAndAbsent(t *testing.T) {
	t.Parallel()
	etcd, a, b, c := three(t)
	d := startNode(t, etcd.Endpoints()[0], "d", newUUID(), nil)
	registered(t, a, b, c, d)
	d.stop()
	b.stuckAt.Store(b.store.Snapshot().Revision())
	fault := "the bundle has no file"
	c.fault.Store(&fault)
	revision := a.put("one.test")
	eventually(t, patience, func() error {
		waiting, _ := waitFor(t, a, revision, "one.test", 1500*time.Millisecond)
		got := map[string]api.Waiting{}
		for _, w := range waiting {
			got[w.Node] = w
		}
		if len(got) != 3 || !strings.Contains(got["b"].Reason, "not yet") || got["b"].Absent || got["c"].Reason != fault ||
			!got["d"].Absent || !strings.Contains(got["d"].Reason, "stopped") {
			return fmt.Errorf("waiting for %+v", waiting)
		}
		return nil
	})
}

// A member that dies while it is waited for does not hold the caller until his time is up.
func TestWaitApplied_MemberDiesMeanwhile(t *testing.T) {
	t.Parallel()
	_, a, b, _ := three(t)
	b.stuckAt.Store(b.store.Snapshot().Revision())
	revision := a.put("one.test")
	done := make(chan struct{})
	go func() { defer close(done); b.kill() }()
	waiting, took := waitFor(t, a, revision, "", 60*time.Second)
	<-done
	if len(waiting) != 1 || waiting[0].Node != "b" || !waiting[0].Absent || took > 30*time.Second {
		t.Errorf("after %v: waiting for %+v", took, waiting)
	}
}

// A member that hangs is named when the time is up, with what is known.
func TestWaitApplied_SilentMember(t *testing.T) {
	t.Parallel()
	_, a, b, _ := three(t)
	b.silent.Store(true)
	waiting, took := waitFor(t, a, a.put("one.test"), "", time.Second)
	if len(waiting) != 1 || waiting[0].Node != "b" || !strings.Contains(waiting[0].Reason, "answer") || took > patience {
		t.Errorf("after %v: waiting for %+v", took, waiting)
	}
}
