package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"

	"statiko/state"
)

// What ends a watch without saying that etcd cannot be reached: the replica is attached anew.
var (
	errReload      = errors.New("another generation is in force")
	errReconnected = errors.New("the connection to etcd is a new one")
	errCompare     = errors.New("time to compare")
	errLost        = errors.New("the connection to etcd is lost")
)

func harmless(err error) bool {
	for _, e := range []error{errReload, errReconnected, errCompare, errLost, rpctypes.ErrCompacted, rpctypes.ErrFutureRev} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Pauses between attempts to reach etcd. They are short, so that changes work soon after etcd is back.
const (
	minPause = 20 * time.Millisecond
	maxPause = 500 * time.Millisecond
	// reloadJitter spreads the nodes' loading of a new generation.
	reloadJitter = 150 * time.Millisecond
)

// run follows etcd until ctx ends.
func (s *Store) run(ctx context.Context) {
	pause := minPause
	for ctx.Err() == nil {
		err := s.follow(ctx, func() { pause = minPause })
		if ctx.Err() != nil {
			return
		}
		if harmless(err) {
			if sleep(ctx, minPause/4) != nil {
				return
			}
			continue
		}
		s.setHealth(etcdError(err))
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
		return err
	}
	// The first request of a client makes its connection; any later one is another.
	now := s.options.Client.Connections()
	if before != 0 && now != before {
		return errReconnected
	}
	return s.watch(ctx, etcd, now, func() {
		attached()
		s.setHealth(nil)
	})
}

// watchPatience is how long etcd may take to say that it watches.
const watchPatience = 2 * time.Second

// openWatch watches from where the replica is. Each watch has a stream of its own (etcd's client shares one among
// watches whose metadata are equal), so that it does not end up on a connection that hangs with the one before.
func (s *Store) openWatch(ctx context.Context, etcd *clientv3.Client) clientv3.WatchChan {
	now, _ := s.replica()
	ctx = metadata.AppendToOutgoingContext(ctx, "statiko-watch", strconv.FormatInt(s.watches.Add(1), 10))
	return etcd.Watch(clientv3.WithRequireLeader(ctx), string(s.keys), clientv3.WithPrefix(), clientv3.WithRev(now.reached+1),
		clientv3.WithProgressNotify(), clientv3.WithFragment(), clientv3.WithCreatedNotify())
}

// watch applies events from the replica's revision on. It calls created when etcd has answered.
func (s *Store) watch(ctx context.Context, etcd *clientv3.Client, connections int64, created func()) error {
	ctx, cancel := context.WithCancel(ctx)
	lost, opened := make(chan struct{}), make(chan clientv3.WatchChan, 1)
	var helpers sync.WaitGroup
	helpers.Go(func() { defer close(lost); awaitLoss(ctx, etcd) })
	// etcd's client returns the channel only when etcd has answered, for as long as that takes.
	helpers.Go(func() { opened <- s.openWatch(ctx, etcd) })
	defer func() { cancel(); helpers.Wait() }()

	var events clientv3.WatchChan
	// Until there is a watch, being asked to compare is no reason to begin again: attaching has just compared.
	var resync chan struct{}
	silent := time.NewTimer(watchPatience)
	defer silent.Stop()
	compare := time.NewTimer(jittered(s.options.CompareEvery))
	defer compare.Stop()
	recheck := time.NewTicker(alarmEvery)
	defer recheck.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-lost:
			return errLost
		case <-silent.C:
			return errors.New("etcd does not answer")
		case events = <-opened:
		case <-resync:
			return errCompare
		case <-compare.C:
			if err := s.compare(ctx, etcd); err != nil {
				return err
			}
			compare.Reset(jittered(s.options.CompareEvery))
		case <-recheck.C:
			if resync != nil && !s.Health().Healthy {
				helpers.Go(func() { s.checkSpace(ctx, etcd) })
			}
		case r, ok := <-events:
			if !ok {
				return errLost
			}
			if err := r.Err(); err != nil {
				return err
			}
			if s.options.Client.Connections() != connections {
				return errReconnected
			}
			if r.Created && silent.Stop() {
				s.unkick()
				resync = s.resync
				created()
				helpers.Go(func() { s.checkSpace(ctx, etcd) })
			}
			if err := s.apply(&r); err != nil {
				return err
			}
		}
	}
}

// alarmEvery is how often a store whose etcd ran out of space looks whether it has some again.
const alarmEvery = 2 * time.Second

// checkSpace notes whether etcd refuses changes for want of space. Who may not ask learns it from the first refusal.
func (s *Store) checkSpace(ctx context.Context, etcd *clientv3.Client) {
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	r, err := etcd.AlarmList(bounded)
	if err != nil {
		return
	}
	for _, a := range r.Alarms {
		if a.Alarm == etcdserverpb.AlarmType_NOSPACE {
			s.setHealth(errNoSpace)
			return
		}
	}
	if s.Health().Reason == errNoSpace.Error() {
		s.setHealth(nil)
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

// apply brings one answer of the watch into the replica.
func (s *Store) apply(r *clientv3.WatchResponse) error {
	before := s.Snapshot()
	now, _ := s.replica()
	b, newest := before.Build(), now.head.lower(before.Revision())
	var mine []witness
	for _, e := range r.Events {
		key := string(e.Kv.Key)
		now.reached = e.Kv.ModRevision
		switch {
		case key == s.keys.head():
			if e.Type == mvccpb.DELETE {
				return errors.New("the head was removed from etcd")
			}
			h, err := decodeHead(e.Kv)
			if err != nil {
				return err
			}
			if !h.same(now.head) {
				return errReload
			}
			now.head = h
			now.seen = witness{key, e.Kv.ModRevision, string(e.Kv.Value)}
			b.SetHead(h.state())
		case strings.HasPrefix(key, s.keys.ops()) && e.Type == mvccpb.PUT:
			now.seen = witness{key, e.Kv.ModRevision, string(e.Kv.Value)}
			if key == s.keys.op(s.options.NodeName) {
				mine = append(mine, now.seen)
			}
		case strings.HasPrefix(key, s.keys.cuts()) && e.Type == mvccpb.PUT:
			if key == s.keys.cut(s.options.NodeName) {
				now.cut = e.Kv.ModRevision
			}
		default:
			k, ok := s.keys.parse(now.head.Generation, key)
			if !ok {
				continue
			}
			s.event(b, now.head, k, e)
		}
		newest = e.Kv.ModRevision
	}
	if r.IsProgressNotify() {
		now.reached = max(now.reached, r.Header.Revision)
	}
	snapshot := before
	if revision := now.head.lift(newest); revision > before.Revision() {
		snapshot = b.Snapshot(revision)
	}
	s.publish(now, snapshot, mine)
	return nil
}

// event applies one event to the replica.
func (s *Store) event(b *state.Builder, head headRecord, k state.Key, e *clientv3.Event) {
	revision := head.lift(e.Kv.ModRevision)
	if e.Type == mvccpb.DELETE {
		b.Delete(k, revision)
		return
	}
	o, err := decodeObject(k, e.Kv.Value)
	s.put(b, k, o, err, revision)
}

// put puts what decodeObject returned into the replica. An object that cannot be read is reported and kept as it was:
// it was written by a newer version, or by hand.
func (s *Store) put(b *state.Builder, k state.Key, o state.Object, err error, revision int64) {
	if err != nil {
		s.log.Error("an object in etcd cannot be read and is passed over", zap.Stringer("object", k), zap.Error(err))
		return
	}
	b.Put(o, revision)
}

// decodeObject makes the object from its value in etcd.
func decodeObject(k state.Key, value []byte) (state.Object, error) {
	o, err := state.Decode(k.Kind, k.Name, value)
	if err == nil && o.Key() != k {
		err = fmt.Errorf("it says that it is %s", o.Key())
	}
	return o, err
}

// compare asks etcd for its newest operation, and returns errCompare if the watch did not bring it (yet).
func (s *Store) compare(ctx context.Context, etcd *clientv3.Client) error {
	r, err := s.get(ctx, etcd, s.keys.ops(), clientv3.WithLastRev()...)
	if err != nil {
		return err
	}
	now, _ := s.replica()
	switch {
	case r.Header.Revision < now.reached:
		return errCompare
	case len(r.Kvs) == 0 || r.Kvs[0].ModRevision <= now.seen.Revision:
		return nil
	case r.Kvs[0].ModRevision <= now.reached:
		s.log.Error("the watch on etcd left a change out; comparing everything", zap.Int64("revision", r.Kvs[0].ModRevision))
		s.reload.Store(true)
	}
	// Or it is under way: attaching finds out.
	return errCompare
}

func jittered(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }
