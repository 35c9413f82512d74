package etcdstore

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"statiko/state"
)

// page is how many keys are asked for at once: few enough that other clients of etcd hardly notice.
const page = 2000

// load makes the replica equal to etcd at one revision. What is the same keeps its place, so that a load after a
// gap in the watch is seen by others as the changes of that gap.
func (s *Store) load(ctx context.Context, etcd *clientv3.Client) error {
	for {
		began := time.Now()
		err := s.loadOnce(ctx, etcd)
		if !errors.Is(err, rpctypes.ErrCompacted) {
			if err == nil {
				s.log.Info("loaded the state from etcd", zap.Int64("revision", s.Snapshot().Revision()),
					zap.Int("sites", s.Snapshot().Len(state.KindSite)), zap.Duration("took", time.Since(began)))
			}
			return err
		}
		// Compacted while loading: begin again at a newer revision.
	}
}

func (s *Store) loadOnce(ctx context.Context, etcd *clientv3.Client) error {
	head, revision, err := s.readHead(ctx, etcd)
	if err != nil {
		return err
	}
	if head == nil {
		return errors.New("the head is gone from etcd")
	}
	l := loading{store: s, etcd: etcd, head: *head, revision: revision, before: s.Snapshot()}
	l.begin()
	for _, prefix := range append([]string{s.keys.gen(head.Generation), s.keys.ops()}, s.keys.outside()...) {
		if err := l.prefix(ctx, prefix); err != nil {
			return err
		}
	}
	l.end()
	return nil
}

// loading is one load.
type loading struct {
	store    *Store
	etcd     *clientv3.Client
	head     headRecord
	revision int64
	before   *state.Snapshot
	b        *state.Builder
	// fresh tells that nothing of before is kept.
	fresh   bool
	present map[state.Key]struct{}
	seen    witness
}

func (l *loading) begin() {
	ours, _, _ := l.store.replica()
	l.fresh = !ours.same(l.head) || !l.store.followed.Load()
	if l.fresh {
		l.b = state.NewSnapshot(l.head.state(), l.head.lift(l.revision)).Build()
	} else {
		l.b = l.before.Build()
		l.b.SetHead(l.head.state())
		l.present = map[state.Key]struct{}{}
	}
	if value, err := l.head.encode(); err == nil {
		l.seen = witness{l.store.keys.head(), l.head.revision, value}
	}
}

// prefix loads all keys with the prefix, in pages.
func (l *loading) prefix(ctx context.Context, prefix string) error {
	from, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	for {
		bounded, cancel := context.WithTimeout(ctx, l.store.timeout())
		r, err := l.etcd.Get(bounded, from, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(l.revision))
		cancel()
		if err != nil {
			return err
		}
		for _, kv := range r.Kvs {
			l.take(kv)
		}
		if !r.More || len(r.Kvs) == 0 {
			return nil
		}
		from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
	}
}

func (l *loading) take(kv *mvccpb.KeyValue) {
	key := string(kv.Key)
	if strings.HasPrefix(key, l.store.keys.ops()) {
		if kv.ModRevision > l.seen.Revision {
			l.seen = witness{key, kv.ModRevision, string(kv.Value)}
		}
		return
	}
	k, ok := l.store.keys.parse(l.head.Generation, key)
	if !ok {
		return
	}
	if !l.fresh {
		l.present[k] = struct{}{}
		if l.before.RevisionOf(k) == l.head.lift(kv.ModRevision) {
			return
		}
	}
	l.store.put(l.b, l.head, k, &clientv3.Event{Type: mvccpb.PUT, Kv: kv})
}

// end publishes what was loaded.
func (l *loading) end() {
	if !l.fresh {
		for k := range l.before.Keys() {
			if _, ok := l.present[k]; !ok {
				l.b.Delete(k, l.head.lift(l.revision))
			}
		}
	}
	s := l.store
	s.mu.Lock()
	s.head, s.seen = l.head, l.seen
	s.mu.Unlock()
	s.followed.Store(true)
	// The revision moves on even if nothing changed: a watch from an old one may be compacted.
	if revision := l.head.lift(l.revision); l.fresh || revision > l.before.Revision() {
		s.Publish(l.b.Snapshot(revision))
	}
	s.loads.Add(1)
	s.markLoaded()
}
