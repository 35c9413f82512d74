package state

import (
	"context"
	"sync"
	"sync/atomic"
)

// Feed publishes snapshots to any number of waiting readers. Backends embed it for Snapshot and Wait.
type Feed struct {
	newest atomic.Pointer[Snapshot]
	mu     sync.Mutex
	// changed is closed, and replaced, by each Publish.
	changed chan struct{}
	closed  chan struct{}
}

// NewFeed returns a feed with its first snapshot.
func NewFeed(first *Snapshot) *Feed {
	f := &Feed{changed: make(chan struct{}), closed: make(chan struct{})}
	f.newest.Store(first)
	return f
}

// Snapshot returns the newest snapshot.
func (f *Feed) Snapshot() *Snapshot { return f.newest.Load() }

// Publish makes s the newest snapshot and wakes everybody. It never blocks on readers.
func (f *Feed) Publish(s *Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest.Store(s)
	close(f.changed)
	f.changed = make(chan struct{})
}

// Wait is [Store.Wait].
func (f *Feed) Wait(ctx context.Context, revision int64) (*Snapshot, error) {
	for {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		if s := f.newest.Load(); s.Revision() > revision {
			return s, nil
		}
		select {
		case <-changed:
		case <-f.closed:
			return nil, Errorf(ErrUnavailable, Key{}, "", "the store is closed")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// CloseFeed ends all waiting. It must be called once.
func (f *Feed) CloseFeed() { close(f.closed) }
