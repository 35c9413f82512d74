package certs

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"statiko/state"
)

// memStore is a store in memory, to inject faults and to keep all goroutines in one bubble of fake time.
type memStore struct {
	*state.Feed
	mu    sync.Mutex
	close sync.Once
	// before and after run around each commit with writes; their errors are the commit's.
	before, after func(*state.Txn) error
	// sizes has the number of written secrets of each commit.
	sizes []int
	// selfSigned counts the self-signed pairs that were stored.
	selfSigned atomic.Int64
}

var _ state.Store = (*memStore)(nil)

func newMemStore() *memStore {
	return &memStore{Feed: state.NewFeed(state.NewSnapshot(state.Head{}, 1))}
}

func (s *memStore) Commit(_ context.Context, t *state.Txn) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Snapshot()
	if t.Fence != nil && t.Fence.Over() {
		return 0, state.Errorf(state.ErrFenced, state.Key{}, "", "the term is over")
	}
	if len(t.Writes) > 0 && s.before != nil {
		if err := s.before(t); err != nil {
			return 0, err
		}
	}
	if !t.Holds(now) {
		return 0, state.ErrConflict
	}
	if len(t.Writes) == 0 {
		return now.Revision(), nil
	}
	rev := now.Revision() + 1
	b := now.Build()
	t.Apply(b, rev)
	s.Publish(b.Snapshot(rev))
	n := 0
	for _, w := range t.Writes {
		if w.Key.Kind == state.KindSecret && w.Object != nil {
			n++
			if strings.HasPrefix(w.Key.Name, state.PrefixSelfSigned) {
				s.selfSigned.Add(1)
			}
		}
	}
	if n > 0 {
		s.sizes = append(s.sizes, n)
	}
	if s.after != nil {
		return rev, s.after(t)
	}
	return rev, nil
}

func (s *memStore) Update(ctx context.Context, change func(*state.Draft) error, options ...state.UpdateOption) (int64, error) {
	return state.RunUpdate(ctx, s, change, options...)
}

func (s *memStore) Restore(_ context.Context, doc *state.Document, _ int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rev := s.Snapshot().Revision() + 1
	s.Publish(s.Snapshot().Restored(doc, rev))
	return rev, nil
}

func (s *memStore) Health() state.Health { return state.Health{Healthy: true, Backend: "memory"} }

func (s *memStore) Close() error { s.close.Do(s.CloseFeed); return nil }

// put stores objects, one update each.
func put(t testing.TB, s state.Store, objects ...state.Object) {
	t.Helper()
	for _, o := range objects {
		if _, err := s.Update(t.Context(), func(d *state.Draft) error { return d.Put(o) }); err != nil {
			t.Fatalf("put %s: %v", o.Key(), err)
		}
	}
}

func remove(t testing.TB, s state.Store, k state.Key) {
	t.Helper()
	if _, err := s.Update(t.Context(), func(d *state.Draft) error { return d.Delete(k) }); err != nil {
		t.Fatalf("remove %s: %v", k, err)
	}
}
