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
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"statiko/state"
)

// Pages of a load: few enough bytes that other clients of etcd hardly notice, and no answer is too large. Objects are
// of very different sizes, so each page says how many keys the next one may have. They should not be many either: for
// each page etcd counts all keys that are left, and lets nobody write meanwhile.
const (
	pageBytes = 2 << 20
	firstPage = 256
	maxPage   = 16384
)

// load makes the replica equal to etcd at one revision. What is the same keeps its place, so that a load after a
// gap in the watch is seen by others as the changes of that gap.
func (s *Store) load(ctx context.Context, etcd *clientv3.Client) error {
	for {
		began := time.Now()
		err := s.loadOnce(ctx, etcd)
		if errors.Is(err, rpctypes.ErrCompacted) {
			// While loading: begin again at a newer revision.
			continue
		}
		if err == nil {
			s.log.Info("loaded the state from etcd", zap.Int64("revision", s.Snapshot().Revision()),
				zap.Int("sites", s.Snapshot().Len(state.KindSite)), zap.Duration("took", time.Since(began)))
		}
		return err
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
	now, _ := s.replica()
	l := loading{store: s, etcd: etcd, before: s.Snapshot(), next: replica{head: *head, reached: revision}}
	l.fresh = !now.head.same(*head) || !s.followed.Load()
	value, err := head.encode()
	if err != nil {
		return err
	}
	l.newest, l.next.seen = head.revision, witness{s.keys.head(), head.revision, value}
	for _, prefix := range []string{s.keys.ops(), s.keys.cuts()} {
		if err := l.prefix(ctx, prefix, l.mark); err != nil {
			return err
		}
	}
	l.begin()
	for _, prefix := range append([]string{s.keys.gen(head.Generation)}, s.keys.outside()...) {
		if err := l.prefix(ctx, prefix, l.take); err != nil {
			return err
		}
	}
	l.end()
	return nil
}

// loading is one load.
type loading struct {
	store  *Store
	etcd   *clientv3.Client
	before *state.Snapshot
	next   replica
	// newest is etcd's revision of the newest change of the state.
	newest int64
	b      *state.Builder
	// fresh tells that nothing of before is kept; otherwise present has what is in etcd.
	fresh   bool
	present map[state.Key]struct{}
}

// prefix loads all keys with the prefix, in pages.
func (l *loading) prefix(ctx context.Context, prefix string, take func(*mvccpb.KeyValue) error) error {
	from, end, limit := prefix, clientv3.GetPrefixRangeEnd(prefix), int64(firstPage)
	for {
		r, err := l.store.get(ctx, l.etcd, from, clientv3.WithRange(end), clientv3.WithLimit(limit), clientv3.WithRev(l.next.reached))
		if status.Code(err) == codes.ResourceExhausted && limit > 1 {
			limit = max(1, limit/8)
			continue
		}
		if err != nil {
			return err
		}
		size := int64(1)
		for _, kv := range r.Kvs {
			size += int64(len(kv.Key) + len(kv.Value))
			if err := take(kv); err != nil {
				return err
			}
		}
		if !r.More || len(r.Kvs) == 0 {
			return nil
		}
		from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
		limit = min(max(1, int64(len(r.Kvs))*pageBytes/size), 8*limit, maxPage)
	}
}

// mark takes what is no object: operations and cuts.
func (l *loading) mark(kv *mvccpb.KeyValue) error {
	key := string(kv.Key)
	l.newest = max(l.newest, kv.ModRevision)
	switch {
	case key == l.store.keys.cut(l.store.options.NodeName):
		l.next.cut = kv.ModRevision
	case strings.HasPrefix(key, l.store.keys.ops()) && kv.ModRevision > l.next.seen.Revision:
		l.next.seen = witness{key, kv.ModRevision, string(kv.Value)}
	}
	return nil
}

func (l *loading) begin() {
	if l.fresh {
		l.b = state.NewSnapshot(l.next.head.state(), l.next.head.lift(l.newest)).Build()
		return
	}
	l.b = l.before.Build()
	l.b.SetHead(l.next.head.state())
	l.present = map[state.Key]struct{}{}
}

func (l *loading) take(kv *mvccpb.KeyValue) error {
	head := l.next.head
	k, ok := l.store.keys.parse(head.Generation, string(kv.Key))
	if !ok {
		return nil
	}
	if !l.fresh {
		l.present[k] = struct{}{}
		ours, theirs := l.before.RevisionOf(k), head.lift(kv.ModRevision)
		if ours > theirs {
			return detached("etcd has an older copy of %s (revision %d) than this node (revision %d)", k, theirs, ours)
		}
		if ours == theirs {
			return nil
		}
	}
	l.newest = max(l.newest, kv.ModRevision)
	l.store.put(l.b, head, k, &clientv3.Event{Type: mvccpb.PUT, Kv: kv})
	return nil
}

// end publishes what was loaded.
func (l *loading) end() {
	revision := l.next.head.lift(l.newest)
	if !l.fresh {
		var gone []state.Key
		for k := range l.before.Keys() {
			if _, ok := l.present[k]; !ok {
				gone = append(gone, k)
			}
		}
		if revision <= l.before.Revision() && len(gone) > 0 {
			// What is under a lease goes without an operation that would say when.
			revision = l.next.head.lift(l.next.reached)
		}
		revision = max(revision, l.before.Revision())
		for _, k := range gone {
			l.b.Delete(k, revision)
		}
	}
	snapshot := l.before
	if l.fresh || revision > l.before.Revision() {
		snapshot = l.b.Snapshot(revision)
	}
	if ours := l.before.Head(); l.fresh && ours.ID == l.next.head.ID && ours.Generation != l.next.head.Generation {
		l.store.rememberFormer(l.before)
	}
	l.store.loads.Add(1)
	l.store.reload.Store(false)
	l.store.publish(l.next, snapshot, nil)
	l.store.followed.Store(true)
	l.store.markLoaded()
}
