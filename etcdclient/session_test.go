package etcdclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/test/etcdtest"
)

// quick lets etcd grant leases of one second.
var quick = []string{"--heartbeat-interval=50", "--election-timeout=500"}

// sessionTTL is short for tests, and as long as a busy machine needs.
const sessionTTL = 2 * time.Second

func openSessionClient(t *testing.T, endpoints ...string) *Client {
	t.Helper()
	c, err := Open(Options{Endpoints: endpoints, Timeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// runSessions runs sessions until the test ends, or stop is called, which waits.
func runSessions(t *testing.T, c *Client) (m *Sessions, stop func()) {
	t.Helper()
	m = NewSessions(c, SessionOptions{TTL: sessionTTL})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	var stopped atomic.Bool
	stop = func() {
		if stopped.Swap(true) {
			return
		}
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the sessions do not end")
		}
	}
	t.Cleanup(stop)
	return m, stop
}

// eventually waits until check returns nil.
func eventually(t *testing.T, within time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %v", within, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// session waits for a session other than before.
func session(t *testing.T, m *Sessions, before *Session) *Session {
	t.Helper()
	var s *Session
	eventually(t, 15*time.Second, func() error {
		var ok bool
		if s, ok = m.Current(); !ok || s == before {
			return errors.New("there is no new session")
		}
		return nil
	})
	return s
}

func leases(t *testing.T, c *clientv3.Client) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := c.Leases(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return len(r.Leases)
}

func TestSessions_OneLeaseIsKept(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, etcdtest.Options{Flags: quick})
	m, stop := runSessions(t, openSessionClient(t, etcd.Endpoints()...))
	if _, lost := m.Lost(); !lost {
		t.Error("there was a session before Run could ask for one")
	}
	s := session(t, m, nil)
	first := s.Deadline()
	if got := time.Until(first); got > sessionTTL-300*time.Millisecond {
		t.Errorf("the session ends in %v, after its lease may have", got)
	}
	time.Sleep(5 * sessionTTL / 2)
	if now, ok := m.Current(); !ok || now != s || s.Over() {
		t.Fatal("the session did not last")
	}
	if !s.Deadline().After(first.Add(3 * sessionTTL / 2)) {
		t.Error("the deadline did not move")
	}
	if n := leases(t, etcd.Client(t)); n != 1 {
		t.Errorf("%d leases for one process", n)
	}
	if err := m.Run(t.Context()); err == nil {
		t.Error("they ran twice at once")
	}
	stop()
	if n := leases(t, etcd.Client(t)); n != 0 {
		t.Errorf("%d leases are left", n)
	}
	if !s.Over() || !errors.Is(context.Cause(s.ctx), context.Canceled) {
		t.Errorf("the session ended as %v", context.Cause(s.ctx))
	}
}

func TestSessions_WithoutEtcdAtFirst(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, etcdtest.Options{Flags: quick})
	etcd.Member(0).Kill()
	m, _ := runSessions(t, openSessionClient(t, etcd.Endpoints()...))
	time.Sleep(time.Second)
	if _, ok := m.Current(); ok {
		t.Fatal("a session without etcd")
	}
	etcd.Member(0).Restart(t)
	session(t, m, nil)
}

func TestSessions_WithoutEtcdStopSoon(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, etcdtest.Options{Flags: quick})
	_, stop := runSessions(t, openSessionClient(t, etcd.Endpoints()...))
	etcd.Member(0).Stop(t)
	began := time.Now()
	stop()
	if took := time.Since(began); took > closeTimeout+2*time.Second {
		t.Errorf("with a frozen etcd the end took %v", took)
	}
}

func TestSessions_EndWaitsForUsersThenKeysVanishAtOnce(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, etcdtest.Options{Flags: quick})
	c := openSessionClient(t, etcd.Endpoints()...)
	m, stop := runSessions(t, c)
	put, gone := make(chan struct{}), make(chan bool, 1)
	each, cancel := make(chan struct{}), context.CancelFunc(nil)
	var ctx context.Context
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		defer close(each)
		m.Each(ctx, func(ctx context.Context, s *Session) {
			raw, err := c.Etcd()
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := raw.Put(ctx, "node", "here", clientv3.WithLease(s.Lease())); err != nil {
				t.Error(err)
			}
			close(put)
			<-ctx.Done()
			time.Sleep(300 * time.Millisecond) // as somebody who cleans up
			r, err := raw.Get(context.WithoutCancel(ctx), "node")
			gone <- err != nil || len(r.Kvs) != 1
		})
	}()
	<-put
	stop()
	if <-gone {
		t.Error("the lease was given back before its user was done")
	}
	r, err := etcd.Client(t).Get(t.Context(), "node")
	if err != nil || len(r.Kvs) != 0 {
		t.Errorf("the key of the node that ended is still there: %v", err)
	}
	cancel()
	<-each
}

func TestSessions_EachCallsOnceForASession(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, etcdtest.Options{Flags: quick})
	m, _ := runSessions(t, openSessionClient(t, etcd.Endpoints()...))
	calls := make(chan *Session, 10)
	ctx, cancel := context.WithCancel(t.Context())
	each := make(chan struct{})
	go func() {
		defer close(each)
		m.Each(ctx, func(_ context.Context, s *Session) { calls <- s })
	}()
	first := <-calls
	if _, err := etcd.Client(t).Revoke(t.Context(), first.Lease()); err != nil {
		t.Fatal(err)
	}
	if second := <-calls; second == first {
		t.Error("called twice for one session")
	}
	cancel()
	<-each
	if len(calls) != 0 {
		t.Errorf("%d calls too many", len(calls))
	}
}

func TestSessions_LeaveNoLeaseWhenStoppedAtAnyMoment(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, etcdtest.Options{Flags: quick})
	c := openSessionClient(t, etcd.Endpoints()...)
	for range 60 {
		m := NewSessions(c, SessionOptions{TTL: 60 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(8*time.Millisecond))
		if err := m.Run(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	if n := leases(t, etcd.Client(t)); n != 0 {
		t.Errorf("%d leases are left", n)
	}
}

func TestSessions_GrantWhoseAnswerWasLostIsTakenUp(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, etcdtest.Options{Flags: quick})
	c := openSessionClient(t, etcd.Endpoints()...)
	raw, err := c.Etcd()
	if err != nil {
		t.Fatal(err)
	}
	m := NewSessions(c, SessionOptions{TTL: sessionTTL})
	lease := newLease()
	first, err := m.grant(t.Context(), raw, lease)
	if err != nil {
		t.Fatal(err)
	}
	defer first.release()
	defer first.end(nil)
	again, err := m.grant(t.Context(), raw, lease)
	if err != nil {
		t.Fatalf("the lease that was granted already: %v", err)
	}
	defer again.release()
	defer again.end(nil)
	if again.Lease() != lease || !again.Deadline().After(first.Deadline()) {
		t.Error("the deadline is not that of the keepalive")
	}
	if n := leases(t, raw); n != 1 {
		t.Errorf("%d leases", n)
	}
}
