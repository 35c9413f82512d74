package etcdclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Pauses between attempts to get a lease.
const (
	minOpenPause = 100 * time.Millisecond
	maxOpenPause = time.Second
)

// retryPause is between attempts to keep a lease.
const retryPause = 100 * time.Millisecond

// requestTimeout bounds a request of an election.
const requestTimeout = 3 * time.Second

// attempt bounds one request for a lease, so that a member that hangs leaves time to ask another.
func (m *Sessions) attempt(ttl time.Duration) time.Duration {
	return min(m.client.Timeout(), max(ttl/4, 250*time.Millisecond))
}

// open gets a lease and makes a session of it, however long that takes; nil when ctx has ended. The lease's id is
// chosen here: so an attempt whose outcome is not known is repeated or undone, and leaves no lease behind.
func (m *Sessions) open(ctx context.Context) *Session {
	pause, failed := minOpenPause, false
	lease := newLease()
	// asked tells that there may be a lease of that id.
	asked := false
	defer func() {
		if asked {
			// The request that was cut off may arrive later still than the first of these.
			if m.revoke(lease) && wait(context.Background(), retryPause) {
				m.revoke(lease)
			}
		}
	}()
	for ctx.Err() == nil {
		etcd, err := m.client.Etcd()
		if err == nil {
			asked = true
			var s *Session
			s, err = m.grant(ctx, etcd, lease)
			if err == nil {
				asked = false
				return s
			}
			if errors.Is(err, ErrLeaseLost) {
				lease, asked = newLease(), false
			}
		}
		if ctx.Err() != nil {
			break
		}
		if !failed {
			failed = true
			m.log.Warn("this node gets no lease of etcd and tries on", zap.Error(Plain(err)))
		}
		if !wait(ctx, pause) {
			break
		}
		pause = min(2*pause, maxOpenPause)
	}
	return nil
}

func newLease() clientv3.LeaseID { return clientv3.LeaseID(1 + rand.Int64N(1<<62)) }

// grant asks once for the lease. The request outlives ctx: if it were cut off, etcd might make it after the lease was
// given back, and keep it for its whole life.
func (m *Sessions) grant(ctx context.Context, etcd *clientv3.Client, lease clientv3.LeaseID) (*Session, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.attempt(m.options.TTL))
	defer cancel()
	// The client's own Grant leaves the choice of the id to etcd.
	leases := clientv3.RetryLeaseClient(etcd)
	sent := time.Now()
	r, err := leases.LeaseGrant(ctx, &etcdserverpb.LeaseGrantRequest{TTL: int64(m.options.TTL / time.Second), ID: int64(lease)})
	var seconds int64
	switch {
	case err == nil:
		seconds = r.TTL
	case errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseExist):
		// An earlier attempt was made after all. How old it is, only a keepalive can tell.
		beat := newPulse(leases, lease)
		defer beat.stop()
		if sent, seconds, err = beat.once(ctx); err != nil {
			return nil, err
		}
	default:
		return nil, err
	}
	return newSession(etcd, min(m.client.Timeout(), requestTimeout), lease, time.Duration(seconds)*time.Second, m.options.Margin, sent)
}

// keep keeps the session's lease alive until it is lost or ctx ends, and returns why.
func (m *Sessions) keep(ctx context.Context, s *Session) error {
	etcd, err := m.client.Etcd()
	if err != nil {
		return err
	}
	beat := newPulse(clientv3.RetryLeaseClient(etcd), s.lease)
	defer beat.stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })()
	next := time.NewTimer(s.ttl / 3)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-next.C:
		case <-s.suspect:
		}
		attempt, end := context.WithTimeout(ctx, m.attempt(s.ttl))
		sent, seconds, err := beat.once(attempt)
		end()
		switch {
		case errors.Is(err, ErrLeaseLost):
			return err
		case err != nil:
			m.log.Debug("etcd did not confirm the lease, asking again", zap.Error(Plain(err)))
			next.Reset(retryPause)
			continue
		case time.Duration(seconds)*time.Second < s.ttl:
			// It never is, but a session that lasted longer than its lease would be the worst of faults.
			return errors.New("etcd has shortened the lease")
		case !s.confirm(sent):
			return ErrLeaseOld
		}
		next.Reset(time.Until(sent.Add(s.ttl / 3)))
	}
}

// pulse sends keepalives over one stream, one at a time, so that it is known for each answer when its question was
// sent. (etcd's client either keeps that to itself, or opens a stream, and with it logs in, for each.) A stream that
// failed is replaced.
type pulse struct {
	leases etcdserverpb.LeaseClient
	lease  clientv3.LeaseID
	stream etcdserverpb.Lease_LeaseKeepAliveClient
	cancel context.CancelFunc
}

func newPulse(leases etcdserverpb.LeaseClient, lease clientv3.LeaseID) *pulse {
	return &pulse{leases: leases, lease: lease, cancel: func() {}}
}

// once sends a keepalive and waits for its answer, until ctx ends. It returns when it was sent and for how many
// seconds from then on the lease holds at least.
func (p *pulse) once(ctx context.Context) (sent time.Time, seconds int64, err error) {
	if p.stream == nil {
		var alive context.Context
		alive, p.cancel = context.WithCancel(clientv3.WithRequireLeader(context.Background()))
		opened := context.AfterFunc(ctx, p.cancel)
		p.stream, err = p.leases.LeaseKeepAlive(alive)
		if err != nil {
			opened()
			p.stop()
			return sent, 0, err
		}
		if !opened() {
			p.stop()
			return sent, 0, ctx.Err()
		}
	}
	answered := context.AfterFunc(ctx, p.cancel)
	sent = time.Now()
	var r *etcdserverpb.LeaseKeepAliveResponse
	if err = p.stream.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: int64(p.lease)}); err == nil || !errors.Is(err, context.Canceled) {
		// After a failed Send, Recv has the reason.
		r, err = p.stream.Recv()
	}
	inTime := answered()
	switch {
	case err != nil && ctx.Err() != nil:
		err = ctx.Err()
	case err == nil && r.TTL <= 0:
		err = ErrLeaseLost
	case err != nil:
		if errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound) {
			err = ErrLeaseLost
		}
	}
	if err != nil || !inTime {
		p.stop() // a late answer must not be taken for that of a later question
	}
	if err != nil {
		return sent, 0, err
	}
	return sent, r.TTL, nil
}

// stop ends the stream.
func (p *pulse) stop() {
	p.cancel()
	p.stream, p.cancel = nil, func() {}
}
