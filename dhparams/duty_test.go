package dhparams

import (
	"context"
	"errors"
	"math/big"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"statiko/filestore"
	"statiko/state"
)

type testFence struct{ over atomic.Bool }

func (f *testFence) Over() bool { return f.over.Load() }

// memStore is a store in memory, so that all goroutines are in one bubble of fake time.
type memStore struct {
	*state.Feed
	mu sync.Mutex
	// fault is returned by commits with writes, if it is not nil, after they were made if late.
	fault error
	late  bool
}

func newMemStore() *memStore {
	return &memStore{Feed: state.NewFeed(state.NewSnapshot(state.Head{}, 1))}
}

func (s *memStore) Commit(_ context.Context, t *state.Txn) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Snapshot()
	switch {
	case t.Fence != nil && t.Fence.Over():
		return 0, state.ErrFenced
	case len(t.Writes) > 0 && s.fault != nil && !s.late:
		return 0, s.fault
	case !t.Holds(now):
		return 0, state.ErrConflict
	case len(t.Writes) == 0:
		return now.Revision(), nil
	}
	rev := now.Revision() + 1
	b := now.Build()
	t.Apply(b, rev)
	s.Publish(b.Snapshot(rev))
	return rev, s.fault
}

func (s *memStore) Update(ctx context.Context, change func(*state.Draft) error, options ...state.UpdateOption) (int64, error) {
	return state.RunUpdate(ctx, s, change, options...)
}

func (s *memStore) Restore(context.Context, *state.Document, int64) (int64, error) {
	return 0, errors.New("not here")
}

func (s *memStore) Health() state.Health { return state.Health{Healthy: true, Backend: "memory"} }

func (s *memStore) Close() error { s.CloseFeed(); return nil }

func (s *memStore) setFault(err error, late bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.late = err, late
}

// rig is a duty over a store in memory, whose searches take a fixed time.
type rig struct {
	t        *testing.T
	store    *memStore
	duty     *Duty
	fence    testFence
	searches atomic.Int64
	given    atomic.Int64 // searches that were given up
	takes    time.Duration
	nginx    atomic.Bool
}

func newRig(t *testing.T, change func(*DutyOptions)) *rig {
	t.Helper()
	g := &rig{t: t, store: newMemStore(), takes: 10 * time.Minute}
	o := DutyOptions{Store: g.store, Bits: 2048, MaxAge: 30 * 24 * time.Hour, NginxPresent: g.nginx.Load, Search: g.search}
	if change != nil {
		change(&o)
	}
	d, err := NewDuty(o)
	if err != nil {
		t.Fatal(err)
	}
	g.duty = d
	return g
}

func (g *rig) search(ctx context.Context, o Options) (*Params, error) {
	n := g.searches.Add(1)
	o.Progress(Progress{Tried: n, Expected: 100})
	t := time.NewTimer(g.takes)
	defer t.Stop()
	select {
	case <-t.C:
		return &Params{P: big.NewInt(1000 + n), G: big.NewInt(2)}, nil
	case <-ctx.Done():
		g.given.Add(1)
		return nil, ctx.Err()
	}
}

func (g *rig) start() (stop func() error) {
	ctx, cancel := context.WithCancel(g.t.Context())
	done := make(chan error, 1)
	go func() { done <- g.duty.Run(ctx, &g.fence) }()
	return func() error { cancel(); return <-done }
}

func pass(d time.Duration) {
	time.Sleep(d) // of fake time
	synctest.Wait()
}

// stored returns the prime in the state; 0 if there is none.
func (g *rig) stored() int64 {
	g.t.Helper()
	d, ok := g.store.Snapshot().DHParams()
	if !ok {
		return 0
	}
	p, err := Parse(d.PEM)
	if err != nil {
		g.t.Fatal(err)
	}
	return p.P.Int64()
}

func (g *rig) want(searches, givenUp, stored int64) {
	g.t.Helper()
	if s, u, p := g.searches.Load(), g.given.Load(), g.stored(); s != searches || u != givenUp || p != stored {
		g.t.Errorf("%d searches, %d given up, %d stored; want %d, %d, %d", s, u, p, searches, givenUp, stored)
	}
}

// set stores parameters as the API does.
func (g *rig) set(p int64) {
	g.t.Helper()
	made := &state.DHParams{Time: time.Now(), PEM: (&Params{P: big.NewInt(p), G: big.NewInt(2)}).PEM()}
	if _, err := g.store.Update(g.t.Context(), func(d *state.Draft) error { return d.Put(made) }); err != nil {
		g.t.Fatal(err)
	}
	synctest.Wait()
}

func TestDuty_MakesWhatIsMissingAndWhatIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		stop := g.start()
		pass(time.Minute)
		if p, ok := g.duty.Progress(); !ok || p.Tried != 1 || p.Expected != 100 {
			t.Errorf("progress %+v, %v", p, ok)
		}
		pass(10 * time.Minute)
		g.want(1, 0, 1001)
		if _, ok := g.duty.Progress(); ok {
			t.Error("still making parameters")
		}
		pass(29 * 24 * time.Hour)
		g.want(1, 0, 1001)
		pass(25 * time.Hour)
		g.want(2, 0, 1002)
		// 400 days: one every thirty days and ten minutes.
		pass(370 * 24 * time.Hour)
		g.want(14, 0, 1014)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestDuty_NeverAgainWithoutAnAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(o *DutyOptions) { o.MaxAge = 0 })
		stop := g.start()
		pass(5 * 365 * 24 * time.Hour)
		g.want(1, 0, 1001)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestDuty_SetFromOutsideEndsTheSearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		stop := g.start()
		pass(time.Minute)
		g.set(7)
		g.want(1, 1, 7)
		if _, ok := g.duty.Progress(); ok {
			t.Error("still making parameters")
		}
		// Their age counts too.
		pass(29 * 24 * time.Hour)
		g.want(1, 1, 7)
		pass(2 * 24 * time.Hour)
		g.want(2, 1, 1002)
		// Removed, as by a restore of a document without any: made again.
		if _, err := g.store.Update(t.Context(), func(d *state.Draft) error { return d.Delete(state.Key{Kind: state.KindDHParams}) }); err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		g.want(3, 1, 1003)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestDuty_EndOfTheTermEndsTheSearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		stop := g.start()
		pass(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		g.want(1, 1, 0)
		// A later term begins anew, and one that is over without knowing it stores nothing.
		stop = g.start()
		pass(time.Minute)
		g.fence.over.Store(true)
		pass(10 * time.Minute)
		g.want(2, 1, 0)
		if err := stop(); !errors.Is(err, state.ErrFenced) {
			t.Errorf("a term that is over: %v", err)
		}
	})
}

func TestDuty_ResultIsKeptUntilTheStoreTakesIt(t *testing.T) {
	for _, late := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, nil)
			g.store.setFault(state.ErrUnavailable, false)
			if late {
				g.store.setFault(state.ErrUnknown, true)
			}
			stop := g.start()
			pass(20 * time.Minute)
			if !late {
				g.want(1, 0, 0)
			}
			g.store.setFault(nil, false)
			pass(2 * time.Minute)
			g.want(1, 0, 1001)
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDuty_AutoOnlyWhileANodeRunsNginx(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(o *DutyOptions) { o.Generate = GenerateAuto })
		stop := g.start()
		pass(24 * time.Hour)
		g.want(0, 0, 0)
		g.nginx.Store(true)
		pass(2 * time.Minute)
		g.nginx.Store(false)
		pass(2 * time.Minute)
		g.want(1, 1, 0)
		g.nginx.Store(true)
		pass(time.Hour)
		g.want(2, 1, 1002)
		if err := stop(); err != nil {
			t.Error(err)
		}
		g = newRig(t, func(o *DutyOptions) { o.Generate = GenerateNever })
		if err := g.duty.Run(t.Context(), &g.fence); err != nil {
			t.Error(err)
		}
		g.want(0, 0, 0)
	})
}

func TestDuty_ClosedStoreIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		g.set(7)
		stop := g.start()
		pass(time.Minute)
		if err := g.store.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := stop(); !errors.Is(err, state.ErrUnavailable) {
			t.Error(err)
		}
	})
}

func TestDuty_OptionsThatAreNone(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]DutyOptions{
		"no store": {Bits: 2048}, "few bits": {Store: newMemStore(), Bits: 1000}, "many bits": {Store: newMemStore(), Bits: MaxBits + 1},
		"unknown word": {Store: newMemStore(), Bits: 2048, Generate: "sometimes"},
	} {
		if _, err := NewDuty(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The real thing: a real search, in a real store.
func TestDuty_StoresWhatPassesTheCheck(t *testing.T) {
	t.Parallel()
	store, err := filestore.Open(filestore.Options{Path: filepath.Join(t.TempDir(), "state.json")})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	d, err := NewDuty(DutyOptions{Store: store, Bits: MinWeakBits, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, &testFence{}) }()
	var snap *state.Snapshot
	for snap = store.Snapshot(); snap.Len(state.KindDHParams) == 0; {
		if snap, err = store.Wait(ctx, snap.Revision()); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	made, _ := snap.DHParams()
	p, err := Parse(made.PEM)
	if err != nil || p.Bits() != MinWeakBits || p.Check(true) != nil {
		t.Errorf("%v, %v", p, err)
	}
}
