package etcdclient

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Bounds of a lease's time to live, for who reads it from a configuration: a shorter one is lost when a machine or
// its disk stalls for a moment, with a longer one a dead node is missed late.
const (
	MinTTL     = 5 * time.Second
	MaxTTL     = 60 * time.Second
	DefaultTTL = 10 * time.Second
)

// Times of the end of a session.
const (
	// closePatience is how long a session that is closed waits for its users.
	closePatience = 3 * time.Second
	// closeTimeout bounds one attempt to revoke a lease.
	closeTimeout = 2 * time.Second
	// revokeLives is for how many of its lives a lost lease is tried to be revoked.
	revokeLives = 6
)

// SessionOptions say how long leases live.
type SessionOptions struct {
	// TTL is in whole seconds, as etcd counts; 0 means DefaultTTL. It is rounded up. etcd may grant a longer one:
	// at least about one and a half times its own election timeout.
	TTL time.Duration
	// Margin is how long before the lease's own end the session ends; 0 means a tenth of TTL, at least 300 ms. In
	// this time, who works under the lease has to stop.
	Margin time.Duration
	// Log may be nil.
	Log *zap.Logger
}

// Sessions keeps one lease of this process alive, and makes a new one whenever it is lost. All that has to vanish
// from etcd when this process dies hangs on it. It is safe for concurrent use.
type Sessions struct {
	client  *Client
	options SessionOptions
	log     *zap.Logger

	mu      sync.Mutex
	running bool
	current *Session
	// changed is closed when current changes.
	changed chan struct{}
	// lost is since when there is no session.
	lost time.Time
}

// NewSessions returns sessions on the client. Nothing happens before Run.
func NewSessions(c *Client, o SessionOptions) *Sessions {
	if o.TTL <= 0 {
		o.TTL = DefaultTTL
	}
	o.TTL = (o.TTL + time.Second - 1).Truncate(time.Second)
	if o.Margin <= 0 || o.Margin > o.TTL/2 {
		o.Margin = max(o.TTL/10, 300*time.Millisecond)
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Sessions{client: c, options: o, log: o.Log, changed: make(chan struct{}), lost: time.Now()}
}

// TTL returns the time to live that leases are asked to have.
func (m *Sessions) TTL() time.Duration { return m.options.TTL }

// Current returns the session, or false if there is none now.
func (m *Sessions) Current() (*Session, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current == nil || m.current.Over() {
		return nil, false
	}
	return m.current, true
}

// Lost returns since when there is no session; false if there is one. Without a session this node cannot speak with
// etcd.
func (m *Sessions) Lost() (since time.Time, lost bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current == nil {
		return m.lost, true
	}
	return m.current.overSince()
}

// Run keeps a session until ctx ends. Then it ends the session for its users, waits for them a moment, and gives the
// lease back. It returns nil then, and an error only if it runs already.
func (m *Sessions) Run(ctx context.Context) error {
	m.mu.Lock()
	running := m.running
	m.running = true
	m.mu.Unlock()
	if running {
		return errors.New("the sessions with etcd run already")
	}
	var closing sync.WaitGroup
	defer func() {
		closing.Wait()
		m.mu.Lock()
		m.running = false
		m.mu.Unlock()
	}()
	for ctx.Err() == nil {
		s := m.open(ctx)
		if s == nil {
			return nil
		}
		m.set(s)
		m.log.Info("this node has a lease", zap.String("lease", fmt.Sprintf("%x", s.lease)), zap.Duration("ttl", s.ttl))
		err := m.keep(ctx, s)
		s.end(err)
		m.set(nil)
		if ctx.Err() == nil {
			m.log.Warn("this node has lost its lease and asks for a new one", zap.String("lease", fmt.Sprintf("%x", s.lease)), zap.Error(err))
		}
		// In the background, as a new session need not wait for the end of the old one. All are waited for at the
		// end, and there are few: each took a while to be lost.
		closing.Go(func() { m.close(ctx, s, errors.Is(err, ErrLeaseLost)) })
	}
	return nil
}

// set makes s the session that users get; nil for none.
func (m *Sessions) set(s *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.current; old != nil {
		m.lost, _ = old.overSince()
		old.ended = true
		if old.users == 0 {
			close(old.idle)
		}
	}
	m.current = s
	close(m.changed)
	m.changed = make(chan struct{})
}

// close waits for the session's users and revokes its lease, unless it is gone: its keys vanish at once then, and
// others need not wait for its end. An etcd that was away gives all leases their whole life again when it is back, so
// it is tried for longer than the lease lives, but only once more after ctx has ended.
func (m *Sessions) close(ctx context.Context, s *Session, gone bool) {
	defer s.release()
	patience := time.NewTimer(closePatience)
	defer patience.Stop()
	select {
	case <-s.idle:
	case <-patience.C:
		m.log.Warn("work under the lease has not ended, the lease is given back nevertheless", zap.String("lease", fmt.Sprintf("%x", s.lease)))
	}
	if gone {
		return
	}
	trying, cancel := context.WithTimeout(ctx, revokeLives*s.ttl)
	defer cancel()
	for !m.revoke(s.lease) && wait(trying, maxOpenPause) {
	}
}

// revoke gives a lease back, and tells whether it is gone. If it cannot, the lease runs out by itself, as nobody keeps
// it alive.
func (m *Sessions) revoke(lease clientv3.LeaseID) bool {
	etcd, err := m.client.Etcd()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if _, err := etcd.Revoke(ctx, lease); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		m.log.Debug("a lease could not be given back yet", zap.String("lease", fmt.Sprintf("%x", lease)), zap.Error(Plain(err)))
		return false
	}
	return true
}

// Each calls f for each session, one after the other, until ctx ends; then it returns. The context of f ends with
// ctx and with the session, and its cause tells why. f returns soon after; a lease is not given back before, within
// bounds. If f returns earlier, it is called again for the next session only.
func (m *Sessions) Each(ctx context.Context, f func(ctx context.Context, s *Session)) {
	var last *Session
	for {
		s := m.acquire(ctx, last)
		if s == nil {
			return
		}
		m.use(ctx, s, f)
		last = s
	}
}

func (m *Sessions) use(ctx context.Context, s *Session, f func(ctx context.Context, s *Session)) {
	defer m.leave(s)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })()
	f(ctx, s)
}

// acquire waits for a session other than last and counts a user of it; nil when ctx has ended.
func (m *Sessions) acquire(ctx context.Context, last *Session) *Session {
	for {
		m.mu.Lock()
		s, changed := m.current, m.changed
		if ctx.Err() == nil && s != nil && s != last && !s.Over() {
			s.users++
			m.mu.Unlock()
			return s
		}
		m.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *Sessions) leave(s *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.users--
	if s.users == 0 && s.ended {
		close(s.idle)
	}
}

// wait pauses for d and up to half as long again; false if ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
