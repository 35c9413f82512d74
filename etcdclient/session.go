package etcdclient

import (
	"context"
	"errors"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// Reasons for the end of a session, as [context.Cause] of its context tells them.
var (
	// ErrLeaseLost: etcd says that the lease is gone.
	ErrLeaseLost = errors.New("etcd has ended the lease of this node")
	// ErrLeaseOld: etcd has not confirmed the lease for so long that it may have ended it.
	ErrLeaseOld = errors.New("etcd has not confirmed the lease of this node in time")
)

// Session is a lease of etcd while it certainly holds. Keys that are put with it vanish soon after it ended. It is
// safe for concurrent use.
//
// It ends by the local monotonic clock: at the time when the last keepalive that etcd confirmed was *sent*, plus the
// lease's time to live, minus a margin. etcd counts from a later moment, so it cannot have given away by then what
// hangs on the lease. Only a lease that is revoked by hand ends earlier than the session knows.
type Session struct {
	lease clientv3.LeaseID
	ttl   time.Duration
	// margin is how long before the lease's own end the session ends.
	margin time.Duration
	ctx    context.Context
	cancel context.CancelCauseFunc

	// etcd is the same lease, as package concurrency wants it; release ends what hangs on it.
	etcd    *concurrency.Session
	release context.CancelFunc

	// suspect has one slot: ask etcd now.
	suspect chan struct{}

	mu       sync.Mutex
	deadline time.Time
	over     bool
	// overAt is when it was found to be over.
	overAt time.Time
	timer  *time.Timer

	// users counts the functions of Each that run in the session; idle is closed when there is none any more after
	// the end. Both are guarded by Sessions.mu.
	users int
	ended bool
	idle  chan struct{}
}

// Lease returns the lease.
func (s *Session) Lease() clientv3.LeaseID { return s.lease }

// TTL returns the lease's time to live, as etcd granted it.
func (s *Session) TTL() time.Duration { return s.ttl }

// Deadline returns when the session ends unless etcd confirms the lease again; it has a monotonic reading.
func (s *Session) Deadline() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deadline
}

// Over tells whether the session has ended. It looks at the clock, so it is right even in a process that was frozen
// and whose timers have not run yet. Once true it stays true.
func (s *Session) Over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overLocked()
}

func (s *Session) overLocked() bool {
	if !s.over && !time.Now().Before(s.deadline) {
		s.over, s.overAt = true, time.Now()
		s.cancel(ErrLeaseOld)
	}
	return s.over
}

// overSince returns when the session was found to be over; false if it is not.
func (s *Session) overSince() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := s.overLocked()
	return s.overAt, over
}

// Check has etcd asked at once whether the lease holds, for who has seen a sign that it does not. It does not wait.
func (s *Session) Check() {
	select {
	case s.suspect <- struct{}{}:
	default:
	}
}

// Etcd returns the session for elections of package concurrency. It sends no keepalives of its own and ends with s.
func (s *Session) Etcd() *concurrency.Session { return s.etcd }

// confirm notes that etcd confirmed a keepalive that was sent at that time. It returns false if the answer came too
// late: somebody may have seen that the session is over, so it remains so.
func (s *Session) confirm(sent time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.overLocked() {
		return false
	}
	s.deadline = sent.Add(s.ttl - s.margin)
	s.timer.Reset(time.Until(s.deadline))
	return true
}

// end ends the session for the reason, if it has not ended yet.
func (s *Session) end(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.over, s.overAt = true, time.Now()
	}
	s.timer.Stop()
	s.cancel(reason)
}

// newSession makes a session of a lease that etcd confirmed, asked at the time sent. It fails if that is too long
// ago already. The timeout bounds each request of an election.
func newSession(etcd *clientv3.Client, timeout time.Duration, lease clientv3.LeaseID, ttl, margin time.Duration, sent time.Time) (*Session, error) {
	s := &Session{lease: lease, ttl: ttl, margin: margin, deadline: sent.Add(ttl - margin), suspect: make(chan struct{}, 1), idle: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.timer = time.AfterFunc(time.Until(s.deadline), func() { s.Over() })
	if s.Over() {
		return nil, ErrLeaseOld
	}
	// Package concurrency is given a client with etcd's services but for one: the keepalives are ours, as its own
	// do not tell when they were sent. What it does without a context of the caller ends with release.
	var ctx context.Context
	ctx, s.release = context.WithCancel(context.Background())
	client := clientv3.NewCtxClient(ctx)
	client.KV, client.Watcher, client.Lease = boundedKV{etcd.KV, timeout}, etcd.Watcher, keptLease{etcd.Lease, s}
	var err error
	s.etcd, err = concurrency.NewSession(client, concurrency.WithLease(lease), concurrency.WithContext(ctx))
	if err != nil {
		s.end(err)
		s.release()
		return nil, err
	}
	return s, nil
}

// keptLease is etcd's lease service for one session, without keepalives.
type keptLease struct {
	clientv3.Lease
	session *Session
}

// KeepAlive returns a channel that closes when the session or ctx ends.
func (l keptLease) KeepAlive(ctx context.Context, _ clientv3.LeaseID) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	answers := make(chan *clientv3.LeaseKeepAliveResponse)
	go func() { // ends with the session
		defer close(answers)
		select {
		case <-ctx.Done():
		case <-l.session.ctx.Done():
		}
	}()
	return answers, nil
}
