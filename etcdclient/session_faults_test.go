package etcdclient

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3/concurrency"

	"statiko/test/etcdtest"
)

func TestSession_RevokedByHand(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, etcdtest.Options{Flags: quick})
	m, _ := runSessions(t, openSessionClient(t, etcd.Endpoints()...))
	s := session(t, m, nil)
	began := time.Now()
	if _, err := etcd.Client(t).Revoke(t.Context(), s.Lease()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Etcd().Done():
	case <-time.After(sessionTTL):
		t.Fatal("the session that package concurrency has did not end")
	}
	if took := time.Since(began); took > sessionTTL/3+500*time.Millisecond {
		t.Errorf("noticed after %v", took)
	}
	if cause := context.Cause(s.ctx); !errors.Is(cause, ErrLeaseLost) {
		t.Errorf("the cause is %v", cause)
	}
	session(t, m, s)
}

func TestSession_LateAnswerDoesNotReviveIt(t *testing.T) {
	t.Parallel()
	c := openSessionClient(t, "http://127.0.0.1:1")
	etcd, err := c.Etcd()
	if err != nil {
		t.Fatal(err)
	}
	// Nobody waits on the timer: what is seen is what the clock says, as in a process that was frozen.
	s, err := newSession(etcd, time.Second, 1, time.Second, 900*time.Millisecond, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer s.release()
	s.mu.Lock()
	s.timer.Stop()
	s.mu.Unlock()
	if s.Over() {
		t.Fatal("over at once")
	}
	time.Sleep(120 * time.Millisecond)
	if s.confirm(time.Now()) {
		t.Error("an answer after the deadline was accepted")
	}
	if !s.Over() || s.ctx.Err() == nil {
		t.Error("the session lives after its deadline")
	}
	if _, err := newSession(etcd, time.Second, 1, time.Second, 100*time.Millisecond, time.Now().Add(-time.Second)); !errors.Is(err, ErrLeaseOld) {
		t.Errorf("a lease that was granted a second ago made a session: %v", err)
	}
}

func TestSession_EndsBeforeItsLeaseCanWhenEtcdFreezes(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, etcdtest.Options{Flags: quick})
	m, _ := runSessions(t, openSessionClient(t, etcd.Endpoints()...))
	s := session(t, m, nil)
	ended := make(chan time.Time, 2)
	ctx, cancel := context.WithCancel(t.Context())
	each := make(chan struct{})
	go func() {
		defer close(each)
		m.Each(ctx, func(ctx context.Context, s *Session) {
			<-ctx.Done()
			if context.Cause(ctx) != context.Canceled && !s.Over() {
				t.Error("the context ended before the session")
			}
			ended <- time.Now()
		})
	}()
	defer func() {
		cancel()
		<-each
	}()
	etcd.Member(0).Stop(t)
	frozen := time.Now()
	select {
	case at := <-ended:
		if took := at.Sub(frozen); took > s.TTL()-200*time.Millisecond {
			t.Errorf("the context ended %v after etcd froze, with a lease of %v", took, s.TTL())
		}
	case <-time.After(3 * sessionTTL):
		t.Fatal("the context did not end")
	}
	if cause := context.Cause(s.ctx); !errors.Is(cause, ErrLeaseOld) {
		t.Errorf("the cause is %v", cause)
	}
	if since, lost := m.Lost(); !lost || since.Before(frozen) {
		t.Errorf("lost is %v, since %v", lost, since)
	}
	etcd.Member(0).Cont(t)
	session(t, m, s)
	eventually(t, 3*sessionTTL, func() error {
		if n := leases(t, etcd.Client(t)); n != 1 {
			return fmt.Errorf("%d leases", n)
		}
		return nil
	})
}

func TestSession_OutlivesFrozenMembers(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, etcdtest.Options{Members: 3, Flags: quick})
	c, err := Open(Options{Endpoints: etcd.Endpoints(), Timeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m := NewSessions(c, SessionOptions{TTL: 6 * time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	defer func() {
		cancel()
		<-done
	}()
	s := session(t, m, nil)
	for i := range 2 {
		etcd.Member(i).Stop(t)
		before := s.Deadline()
		eventually(t, 6*time.Second, func() error {
			if s.Over() {
				t.Fatalf("the session was lost with member %d: %v", i, context.Cause(s.ctx))
			}
			if !s.Deadline().After(before.Add(time.Second)) {
				return errors.New("the lease is not confirmed")
			}
			return nil
		})
		etcd.Member(i).Cont(t)
		etcd.AwaitReady(t)
	}
}

func TestSession_OutlivesItsToken(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, etcdtest.Options{RootPassword: "geheim", Flags: append([]string{"--auth-token-ttl=1"}, quick...)})
	c, err := Open(Options{Endpoints: etcd.Endpoints(), Timeout: 3 * time.Second, Username: "root", Password: "geheim"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, stop := runSessions(t, c)
	s := session(t, m, nil)
	time.Sleep(3 * sessionTTL / 2)
	if s.Over() {
		t.Errorf("the session ended: %v", context.Cause(s.ctx))
	}
	election := concurrency.NewElection(s.Etcd(), "e")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := election.Campaign(ctx, "me"); err != nil {
		t.Errorf("campaign after the token's end: %v", err)
	}
	stop()
	if n := leases(t, etcd.Client(t)); n != 0 {
		t.Errorf("%d leases are left", n)
	}
}
