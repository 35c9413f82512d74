package notify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"statiko/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memStore is a store in memory, to keep all goroutines in one bubble of fake time.
type memStore struct {
	*state.Feed
	mu    sync.Mutex
	close sync.Once
	// commits counts those with writes.
	commits atomic.Int64
}

func newMemStore(t testing.TB) *memStore {
	s := &memStore{Feed: state.NewFeed(state.NewSnapshot(state.Head{}, 1))}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (s *memStore) Commit(_ context.Context, t *state.Txn) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Snapshot()
	switch {
	case t.Fence != nil && t.Fence.Over():
		return 0, state.Errorf(state.ErrFenced, state.Key{}, "", "the term is over")
	case !t.Holds(now):
		return 0, state.ErrConflict
	case len(t.Writes) == 0:
		return now.Revision(), nil
	}
	rev := now.Revision() + 1
	b := now.Build()
	t.Apply(b, rev)
	s.Publish(b.Snapshot(rev))
	s.commits.Add(1)
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
func (s *memStore) Close() error         { s.close.Do(s.CloseFeed); return nil }

// process is the store as one process has it, until the process crashes.
type process struct {
	state.Store
	crashed atomic.Bool
}

func (p *process) Update(ctx context.Context, change func(*state.Draft) error, options ...state.UpdateOption) (int64, error) {
	if p.crashed.Load() {
		return 0, state.Errorf(state.ErrUnavailable, state.Key{}, "", "the process is gone")
	}
	return p.Store.Update(ctx, change, options...)
}

type testFence struct{ over atomic.Bool }

func (f *testFence) Over() bool { return f.over.Load() }

// receiver is a sender that notes what it was sent.
type receiver struct {
	mu  sync.Mutex
	got map[string]int
	// order has the IDs in the order of their arrival.
	order []string
	// attempts counts all, taken or not.
	attempts int
	// takes is how long one attempt takes, and refuse what becomes of it; nil is success.
	takes  time.Duration
	refuse func(Event) error
	// arrived runs after an event was taken and before the sender knows.
	arrived func(Event)
}

func (r *receiver) Send(ctx context.Context, e Event) error {
	if r.takes > 0 {
		t := time.NewTimer(r.takes)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts++
	if r.refuse != nil {
		if err := r.refuse(e); err != nil {
			return err
		}
	}
	if r.got == nil {
		r.got = map[string]int{}
	}
	r.got[e.ID]++
	r.order = append(r.order, e.ID)
	if r.arrived != nil {
		r.arrived(e)
	}
	return nil
}

func (r *receiver) count(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got[id]
}

// taken returns how often each was taken, and all attempts.
func (r *receiver) taken() (got map[string]int, order []string, attempts int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.got), slices.Clone(r.order), r.attempts
}

func (r *receiver) tried() int     { _, _, n := r.taken(); return n }
func (r *receiver) different() int { got, _, _ := r.taken(); return len(got) }
func (r *receiver) ids() []string  { _, order, _ := r.taken(); return order }

func event(id string) Event {
	return Event{ID: id, Type: "test", Subject: "a.example", Text: "something is wrong with " + id, Created: time.Now(), Node: "edge-1"}
}

func record(t testing.TB, s state.Store, events ...Event) {
	t.Helper()
	for _, e := range events {
		if _, err := s.Update(t.Context(), func(d *state.Draft) error { _, err := Record(d, e); return err }); err != nil {
			t.Fatal(err)
		}
	}
}

func records(t testing.TB, s state.Store, from, n int) {
	t.Helper()
	for i := range n {
		record(t, s, event(fmt.Sprintf("e%03d", from+i)))
	}
}

// term is one run of a duty.
type term struct {
	t     testing.TB
	duty  *Duty
	fence *testFence
	stop  func()
	done  chan error
}

func begin(t testing.TB, o Options) *term {
	t.Helper()
	d, err := NewDuty(o)
	if err != nil {
		t.Fatal(err)
	}
	return run1(t, d)
}

func run1(t testing.TB, d *Duty) *term {
	ctx, cancel := context.WithCancel(context.Background())
	g := &term{t: t, duty: d, fence: &testFence{}, stop: cancel, done: make(chan error, 1)}
	go func() { g.done <- d.Run(ctx, g.fence) }()
	return g
}

// end ends the term as a healthy process does: the duty first, then what is on its way.
func (g *term) end() {
	g.t.Helper()
	g.resign()
	if err := g.duty.Close(); err != nil {
		g.t.Error(err)
	}
}

// resign ends the run alone.
func (g *term) resign() {
	g.t.Helper()
	g.fence.over.Store(true)
	g.stop()
	if err := <-g.done; err != nil {
		g.t.Errorf("Run: %v", err)
	}
}
