package certs

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// W26: in the earlier program a certificate that could not be made blocked whoever waited for it, for ever: expiries
// were not watched any more, and the next site was never tried.
func TestW26_FailureBlocksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.duty.o.Log = zap.NewNop()
		var mu sync.Mutex
		tried := map[string]int{}
		produce := g.duty.produce
		g.duty.produce = func(s *state.Site) ([]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			tried[s.Domain]++
			if s.Domain != "good.test" {
				return nil, errors.New("no entropy")
			}
			return produce(s)
		}
		put(t, g.store, plain("bad.test"), plain("bad2.test"), imported(t, g.ring, "shop", time.Now(), 8*day), uses("shop.test", "shop"))
		stop := startExpiry(t, g)
		g.run(func() {
			pass(time.Hour)
			put(t, g.store, plain("good.test"))
			synctest.Wait()
			g.good(plain("good.test"))
			pass(day)
			if got := outbox(t, g.store.Snapshot()); len(got) != 2 {
				t.Errorf("expiries are not watched: %v", got)
			}
		})
		if err := stop(); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if tried["bad.test"] < 10 || tried["bad2.test"] < 10 || tried["good.test"] != 1 {
			t.Errorf("tries in a day: %v", tried)
		}
	})
}

// W27: in the earlier program a job that failed stayed in etcd, where it was neither done nor asked for again.
func TestW27_FailureLeavesNothingAndIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.duty.o.Log = zap.NewNop()
		good := g.duty.produce
		g.duty.produce = func(*state.Site) ([]byte, error) { return nil, errors.New("no entropy") }
		put(t, g.store, plain("a.test"))
		rev := g.store.Snapshot().Revision()
		g.run(func() { pass(12 * time.Hour) })
		if now := g.store.Snapshot().Revision(); now != rev {
			t.Errorf("failures left %d changes in the state", now-rev)
		}
		g.duty.produce = good
		g.run(func() { g.good(plain("a.test")) }) // the next leader does it at once
		g.duty.produce = func(*state.Site) ([]byte, error) { return nil, errors.New("no entropy") }
		put(t, g.store, plain("b.test"))
		g.run(func() {
			pass(time.Minute)
			remove(t, g.store, plain("b.test").Key())
			put(t, g.store, plain("b.test")) // asked for again
			pass(time.Hour)
			g.duty.o.Log.Info("repaired")
		})
		g.duty.produce = good
		g.run(func() { g.good(plain("b.test")) })
	})
}
