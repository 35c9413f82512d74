package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"statiko/state"
)

func TestRemove_OnlyWhatIsNotUp(t *testing.T) {
	t.Parallel()
	_, a, b, c := three(t)
	err := a.cluster.Remove(t.Context(), "b")
	if !errors.Is(err, state.ErrInUse) || !strings.Contains(err.Error(), b.api.URL) {
		t.Errorf("a member that is up: %v", err)
	}
	if err := a.cluster.Remove(t.Context(), "nobody"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	b.stop()
	eventually(t, patience, func() error { return a.cluster.Remove(t.Context(), "b") })
	eventually(t, patience, func() error {
		if _, ok := c.cluster.member("b"); ok {
			return errors.New("c knows b")
		}
		return nil
	})
	if waiting, _ := waitFor(t, a, a.put("one.test"), "", patience); len(waiting) > 0 {
		t.Errorf("waiting for %+v", waiting)
	}
}

// A node that was removed while it could not speak with etcd is a member again when it can.
func TestRemove_ReturnsWhenItComesBack(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	proxy := etcd.Member(0).Proxy(t)
	a := startNode(t, etcd.Endpoints()[0], "a", newUUID(), nil)
	b := startNode(t, proxy.Endpoint(), "b", newUUID(), nil)
	registered(t, a, b)
	proxy.Cut()
	eventually(t, patience, func() error { return a.cluster.Remove(t.Context(), "b") })
	proxy.Mend()
	registered(t, a, b)
}

type testFence struct{ over atomic.Bool }

func (f *testFence) Over() bool { return f.over.Load() }

// lead runs the duty until the test ends, or stop is called, which returns its error.
func lead(t testing.TB, n *testNode, fence state.Fence) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.cluster.ForgetDuty(ctx, fence) }()
	var once atomic.Bool
	stop = func() error {
		if once.Swap(true) {
			return nil
		}
		cancel()
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

// A member that is away without a word is noted, the note outlives the leader, and then the member is forgotten;
// those that are up are not touched.
func TestForget_AfterTheTime(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	forget := func(after time.Duration) func(*Options) { return func(o *Options) { o.ForgetAfter = after } }
	a := startNode(t, etcd.Endpoints()[0], "a", newUUID(), forget(4*time.Second))
	b := startNode(t, etcd.Endpoints()[0], "b", newUUID(), forget(4*time.Second))
	c := startNode(t, etcd.Endpoints()[0], "c", newUUID(), nil)
	registered(t, a, b, c)
	stop := lead(t, a, &testFence{})
	c.kill()
	eventually(t, patience, func() error {
		if m, ok := b.cluster.member("c"); !ok || m.UnseenSince == nil || m.Stopped || m.Up {
			return fmt.Errorf("%+v", m)
		}
		return nil
	})
	noted, _ := b.cluster.member("c")
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("the duty ended with %v", err)
	}
	// Another leader goes on from there.
	lead(t, b, &testFence{})
	eventually(t, patience, func() error {
		if m, ok := a.cluster.member("c"); ok {
			if !m.UnseenSince.Equal(*noted.UnseenSince) {
				t.Errorf("noted again: %v after %v", m.UnseenSince, noted.UnseenSince)
			}
			return errors.New("c is not forgotten")
		}
		return nil
	})
	if since := time.Since(*noted.UnseenSince); since < 4*time.Second {
		t.Errorf("forgotten after %v", since)
	}
	registered(t, a, b)
}

// Who comes back in time is not forgotten, and his absence is.
func TestForget_ComesBackInTime(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	short := func(o *Options) { o.ForgetAfter = 4 * time.Second }
	id := newUUID()
	a := startNode(t, etcd.Endpoints()[0], "a", newUUID(), short)
	b := startNode(t, etcd.Endpoints()[0], "b", id, short)
	registered(t, a, b)
	lead(t, a, &testFence{})
	b.stop()
	eventually(t, patience, func() error {
		if m, _ := a.cluster.member("b"); m.Up || !m.Stopped || m.UnseenSince == nil {
			return fmt.Errorf("%+v", m)
		}
		return nil
	})
	b = startNode(t, etcd.Endpoints()[0], "b", id, short)
	registered(t, a, b)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if m, ok := a.cluster.member("b"); !ok || m.Stopped {
			t.Fatalf("%t, %+v", ok, m)
		}
	}
	registered(t, a, b)
}

func TestForget_NotByAFormerLeader(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	a := startNode(t, etcd.Endpoints()[0], "a", newUUID(), func(o *Options) { o.ForgetAfter = time.Second })
	b := startNode(t, etcd.Endpoints()[0], "b", newUUID(), nil)
	registered(t, a, b)
	b.stop()
	fence := &testFence{}
	fence.over.Store(true)
	if err := a.cluster.ForgetDuty(t.Context(), fence); !errors.Is(err, state.ErrFenced) {
		t.Errorf("the duty ended with %v", err)
	}
	if _, ok := a.cluster.member("b"); !ok {
		t.Error("b was forgotten")
	}
}
