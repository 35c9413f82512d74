package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/connectivity"

	"statiko/etcdclient"
	"statiko/state"
)

var (
	// errReload ends a watch because another generation is in force.
	errReload = errors.New("another generation is in force")
	// errReconnected ends a watch because its connection is another one.
	errReconnected = errors.New("the connection to etcd is a new one")
	// errCompare ends a watch because it is time to compare.
	errCompare = errors.New("time to compare")
)

// Pauses between attempts to reach etcd.
const (
	minPause = 50 * time.Millisecond
	maxPause = time.Second
	// reloadJitter spreads the nodes' loading of a new generation.
	reloadJitter = 150 * time.Millisecond
)

// run follows etcd until ctx ends.
func (s *Store) run(ctx context.Context) {
	pause := minPause
	for ctx.Err() == nil {
		err := s.follow(ctx, func() { pause = minPause })
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errReload), errors.Is(err, errReconnected), errors.Is(err, errCompare):
			continue
		}
		s.setHealth(err)
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-s.resync:
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, maxPause)
	}
}

// follow attaches the replica to etcd and applies what the watch brings, until something is in the way.
func (s *Store) follow(ctx context.Context, attached func()) error {
	etcd, err := s.client()
	if err != nil {
		return err
	}
	before := s.options.Client.Connections()
	if err := s.attach(ctx, etcd); err != nil {
		return etcdError(err)
	}
	// The first request of a client makes its connection; any later one is another.
	now := s.options.Client.Connections()
	if before != 0 && now != before {
		return errReconnected
	}
	attached()
	s.setHealth(nil)
	return s.watch(ctx, etcd, now)
}

// watch applies events from the replica's revision on.
func (s *Store) watch(ctx context.Context, etcd *clientv3.Client, connections int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lost := make(chan struct{})
	s.done.Go(func() { defer close(lost); awaitLoss(ctx, etcd) })

	head, _, _ := s.replica()
	from := head.lower(s.Snapshot().Revision()) + 1
	events := etcd.Watch(clientv3.WithRequireLeader(ctx), string(s.keys), clientv3.WithPrefix(), clientv3.WithRev(from),
		clientv3.WithProgressNotify(), clientv3.WithFragment())
	compare := time.NewTimer(jittered(s.options.CompareEvery))
	defer compare.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-lost:
			return errors.New("the connection to etcd is lost")
		case <-s.resync:
			return errCompare
		case <-compare.C:
			if err := s.compare(ctx, etcd); err != nil {
				return etcdError(err)
			}
			compare.Reset(jittered(s.options.CompareEvery))
		case r, ok := <-events:
			if !ok {
				return errors.New("the watch on etcd ended")
			}
			if err := r.Err(); err != nil {
				return etcdError(err)
			}
			if s.options.Client.Connections() != connections {
				return errReconnected
			}
			if err := s.apply(r.Events); err != nil {
				return err
			}
		}
	}
}

// awaitLoss returns when the connection is no longer ready, or ctx ended.
func awaitLoss(ctx context.Context, etcd *clientv3.Client) {
	conn := etcd.ActiveConnection()
	for {
		now := conn.GetState()
		if now == connectivity.TransientFailure || now == connectivity.Shutdown || now == connectivity.Idle || !conn.WaitForStateChange(ctx, now) {
			return
		}
	}
}

// apply brings the events of one answer into the replica.
func (s *Store) apply(events []*clientv3.Event) error {
	before := s.Snapshot()
	head, seen, _ := s.replica()
	b, newest := before.Build(), head.lower(before.Revision())
	var mine []witness
	for _, e := range events {
		if e.Kv.ModRevision < newest {
			continue
		}
		key := string(e.Kv.Key)
		switch {
		case key == s.keys.head():
			if e.Type == mvccpb.DELETE {
				return errors.New("the head was removed from etcd")
			}
			h, err := decodeHead(e.Kv)
			if err != nil {
				return err
			}
			if !h.same(head) {
				return errReload
			}
			head = h
			b.SetHead(h.state())
			seen = witness{key, e.Kv.ModRevision, string(e.Kv.Value)}
		case strings.HasPrefix(key, s.keys.ops()):
			if e.Type == mvccpb.DELETE {
				continue
			}
			seen = witness{key, e.Kv.ModRevision, string(e.Kv.Value)}
			if key == s.keys.op(s.options.NodeName) {
				mine = append(mine, seen)
			}
		default:
			k, ok := s.keys.parse(head.Generation, key)
			if !ok {
				continue
			}
			s.put(b, head, k, e)
		}
		newest = e.Kv.ModRevision
	}
	s.mu.Lock()
	s.head, s.seen = head, seen
	for _, w := range mine {
		s.remember(head, w)
	}
	s.mu.Unlock()
	if revision := head.lift(newest); revision > before.Revision() {
		s.Publish(b.Snapshot(revision))
	}
	return nil
}

// put applies one event to the replica. An object that cannot be read is reported and kept as it was: it was written
// by a newer version, or by hand.
func (s *Store) put(b *state.Builder, head headRecord, k state.Key, e *clientv3.Event) {
	if e.Type == mvccpb.DELETE {
		b.Delete(k, head.lift(e.Kv.ModRevision))
		return
	}
	o, err := state.Decode(k.Kind, k.Name, e.Kv.Value)
	if err != nil || o.Key() != k {
		s.log.Error("an object in etcd cannot be read and is passed over", zap.Stringer("object", k), zap.Error(err))
		return
	}
	b.Put(o, head.lift(e.Kv.ModRevision))
}

// maxMine bounds how many operations are remembered: more than can be under way at once.
const maxMine = 4096

// remember notes an operation of this node that the watch has brought. s.mu is held.
func (s *Store) remember(head headRecord, w witness) {
	s.mine[w.Value] = head.lift(w.Revision)
	s.order = append(s.order, w.Value)
	if len(s.order) > maxMine {
		delete(s.mine, s.order[0])
		s.order = s.order[1:]
	}
}

// compare asks etcd for its newest operation, and returns errCompare if the watch did not bring it.
func (s *Store) compare(ctx context.Context, etcd *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	r, err := etcd.Get(ctx, s.keys.ops(), clientv3.WithLastRev()...)
	if err != nil {
		return err
	}
	head, seen, _ := s.replica()
	if r.Header.Revision < head.lower(s.Snapshot().Revision()) {
		return errCompare
	}
	for _, kv := range r.Kvs {
		if kv.ModRevision > seen.Revision {
			// It may be under way. Attaching finds out.
			return errCompare
		}
	}
	return nil
}

func jittered(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }

// etcdError words a failed request.
func etcdError(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("etcd does not answer")
	case errors.Is(err, rpctypes.ErrNoSpace):
		return errors.New("etcd is out of space (alarm NOSPACE): compact and defragment it, then disarm the alarm")
	case errors.Is(err, rpctypes.ErrNoLeader):
		return errors.New("etcd has no leader: too few of its members are up")
	}
	var d *detachedError
	if errors.As(err, &d) {
		return d
	}
	return fmt.Errorf("etcd: %w", etcdclient.Plain(err))
}
