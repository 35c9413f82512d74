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
	l := loading{store: s, before: s.Snapshot(), next: replica{head: *head, reached: revision}}
	l.fresh = !now.head.same(*head) || !s.followed.Load()
	value, err := head.encode()
	if err != nil {
		return err
	}
	l.newest, l.next.seen = head.revision, witness{s.keys.head(), head.revision, value}
	if err := s.pages(ctx, etcd, revision, []string{s.keys.ops(), s.keys.cuts()}, l.mark); err != nil {
		return err
	}
	l.begin()
	if err := s.pages(ctx, etcd, revision, s.keys.replicated(head.Generation), l.take); err != nil {
		return err
	}
	l.end()
	return nil
}

// loading is one load.
type loading struct {
	store  *Store
	before *state.Snapshot
	next   replica
	// newest is etcd's revision of the newest change of the state.
	newest int64
	b      *state.Builder
	// fresh tells that nothing of before is kept; otherwise present has what is in etcd.
	fresh   bool
	present map[state.Key]struct{}
}

// mark takes what is no object: operations and cuts.
func (l *loading) mark(page []*mvccpb.KeyValue) error {
	for _, kv := range page {
		key := string(kv.Key)
		l.newest = max(l.newest, kv.ModRevision)
		switch {
		case key == l.store.keys.cut(l.store.options.NodeName):
			l.next.cut = kv.ModRevision
		case strings.HasPrefix(key, l.store.keys.ops()) && kv.ModRevision > l.next.seen.Revision:
			l.next.seen = witness{key, kv.ModRevision, string(kv.Value)}
		}
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

// take takes a page of objects.
func (l *loading) take(page []*mvccpb.KeyValue) error {
	head := l.next.head
	items := make([]item, 0, len(page))
	for _, kv := range page {
		k, ok := l.store.keys.parse(head.Generation, string(kv.Key))
		if !ok {
			continue
		}
		if !l.fresh {
			l.present[k] = struct{}{}
			ours, theirs := l.before.RevisionOf(k), head.lift(kv.ModRevision)
			if ours > theirs {
				return detached("etcd has an older copy of %s (revision %d) than this node (revision %d)", k, theirs, ours)
			}
			if ours == theirs {
				continue
			}
		}
		l.newest = max(l.newest, kv.ModRevision)
		items = append(items, item{kv: kv, key: k})
	}
	decodeAll(items)
	for _, i := range items {
		l.store.put(l.b, i.key, i.object, i.err, head.lift(i.kv.ModRevision))
	}
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
