package certs

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"statiko/secret"
	"statiko/state"
)

func TestDuty_OthersTouchThePairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		a, b, c := plain("a.test"), plain("b.test"), site(state.TLSACME, "c.test")
		put(t, g.store, a, b, c)
		g.run(func() {
			remove(t, g.store, state.Key{Kind: state.KindSecret, Name: nameOf(a)})
			synctest.Wait()
			g.good(a)

			wrong, key := mustSelfSigned(t, Request{Names: []string{"b.test"}, Now: time.Now().Add(-2 * DefaultLife)})
			put(t, g.store, &state.Secret{Name: nameOf(b), Sealed: g.seal(wrong, key)})
			synctest.Wait()
			g.good(b)
			put(t, g.store, &state.Secret{Name: nameOf(b), Sealed: []byte("junk")})
			pass(2 * minFullLooks)
			g.good(b)

			issued := &state.Secret{Name: secret.PairName(state.PrefixACME, "c.test", nil)}
			cert, key := mustSelfSigned(t, Request{Names: []string{"c.test"}})
			issued.Sealed = g.seal(cert, key)
			put(t, g.store, issued)
			pass(2 * defaultGrace)
			if _, ok := g.store.Snapshot().Secret(nameOf(c)); ok {
				t.Error("the self-signed pair outlived the issued one's arrival")
			}
			remove(t, g.store, issued.Key())
			synctest.Wait()
			g.good(c)
		})
	})
}

func TestDuty_OneFailingSiteStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.duty.o.Log = zap.NewNop()
		var broken atomic.Bool
		broken.Store(true)
		tries := 0
		produce := g.duty.produce
		g.duty.produce = func(s *state.Site) ([]byte, error) {
			if s.Domain == "bad.test" && broken.Load() {
				tries++
				return nil, errors.New("no entropy")
			}
			return produce(s)
		}
		put(t, g.store, plain("bad.test"))
		for i := range 50 {
			put(t, g.store, plain(fmt.Sprintf("s%d.test", i)))
		}
		g.run(func() {
			if n := len(g.pairs()); n != 50 {
				t.Fatalf("%d pairs", n)
			}
			pass(30 * time.Minute)
			if tries < 5 || tries > 15 {
				t.Errorf("%d tries in half an hour", tries)
			}
			broken.Store(false)
			pass(12 * time.Minute)
			g.good(plain("bad.test"))
		})
	})
}

func TestDuty_StoreUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.duty.o.Log = zap.NewNop()
		var s []*state.Site
		for i := range 1000 {
			s = append(s, plain(fmt.Sprintf("s%d.test", i)))
			put(t, g.store, s[i])
		}
		tries := 0
		g.store.before = func(*state.Txn) error {
			tries++
			return state.Errorf(state.ErrUnavailable, state.Key{}, "", "no quorum")
		}
		g.run(func() {
			pass(10 * time.Minute)
			if tries < 10 || tries > 60 {
				t.Errorf("%d tries in ten minutes", tries)
			}
			if n := g.made.Load(); n > maxWaiting+maxBatch+10 {
				t.Errorf("%d pairs held in memory", n)
			}
			g.store.mu.Lock()
			g.store.before = nil
			g.store.mu.Unlock()
			pass(40 * time.Second)
			for _, s := range s {
				g.good(s)
			}
			if n := g.made.Load(); n != 1000 {
				t.Errorf("%d made for 1000 sites", n)
			}
		})
	})
}

func TestDuty_UnknownOutcomeMakesNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.duty.o.Log = zap.NewNop()
		for i := range 30 {
			put(t, g.store, plain(fmt.Sprintf("s%d.test", i)))
		}
		g.store.after = func(*state.Txn) error { return state.ErrUnknown }
		g.run(func() {
			pass(time.Minute)
			stored := 0
			for _, n := range g.store.sizes {
				stored += n
			}
			if stored != 30 || len(g.pairs()) != 30 {
				t.Errorf("stored %v", g.store.sizes)
			}
		})
	})
}

func TestDuty_PoisonedBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.duty.o.Log = zap.NewNop()
		for i := range 60 {
			put(t, g.store, plain(fmt.Sprintf("s%d.test", i)))
		}
		bad := nameOf(plain("s7.test"))
		g.store.before = func(txn *state.Txn) error {
			for _, w := range txn.Writes {
				if w.Key.Name == bad {
					return state.ErrTooLarge
				}
			}
			return nil
		}
		g.run(func() {
			pass(time.Minute)
			if n := len(g.pairs()); n != 59 {
				t.Errorf("%d of 59 pairs", n)
			}
		})
	})
}

func TestDuty_EndOfTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		put(t, g.store, plain("a.test"))
		stop := g.start()
		synctest.Wait()
		g.fence.over.Store(true)
		put(t, g.store, plain("b.test"))
		synctest.Wait()
		if err := stop(); !errors.Is(err, state.ErrFenced) {
			t.Errorf("Run: %v", err)
		}
		if n := len(g.pairs()); n != 1 {
			t.Errorf("%d pairs, one of them after the term", n)
		}
	})
}

func TestDuty_StoreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		stop := g.start()
		synctest.Wait()
		_ = g.store.Close()
		synctest.Wait()
		if err := stop(); !errors.Is(err, state.ErrUnavailable) {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestDuty_Restore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		put(t, g.store, plain("old.test"), plain("both.test"))
		g.run(func() {
			doc, err := state.ParseDocument([]byte(`{"sites":[{"domain":"both.test","aliases":null,"tls":{"type":"selfsigned"},"app":null},
				{"domain":"new.test","aliases":["www.new.test"],"tls":null,"app":null}]}`))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.store.Restore(t.Context(), doc, 0); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			g.good(plain("both.test"))
			g.good(plain("new.test", "www.new.test"))
			if n := len(g.pairs()); n != 2 {
				t.Errorf("%d pairs", n)
			}
		})
	})
}

func TestNewDuty_Refuses(t *testing.T) {
	for name, o := range map[string]DutyOptions{
		"no store":   {Keyring: ring(t, testKey)},
		"no keyring": {Store: newMemStore()},
		"key type":   {Store: newMemStore(), Keyring: ring(t, testKey), KeyType: "dsa"},
	} {
		if _, err := NewDuty(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
