package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"statiko/secret"
	"statiko/state"
)

const testKey = "AAECAwQFBgcICQoLDA0ODw=="

func ring(t testing.TB, key string, old ...string) *secret.Keyring {
	t.Helper()
	r, err := secret.NewKeyring(key, old...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type testFence struct{ over atomic.Bool }

func (f *testFence) Over() bool { return f.over.Load() }

// rig is a duty over a store in memory.
type rig struct {
	t     testing.TB
	store *memStore
	ring  *secret.Keyring
	duty  *Duty
	fence *testFence
	// made counts the certificates made.
	made atomic.Int64
}

func newRig(t *testing.T, change ...func(*DutyOptions)) *rig {
	t.Helper()
	g := &rig{t: t, store: newMemStore(), ring: ring(t, testKey), fence: &testFence{}}
	g.remake(change...)
	return g
}

func (g *rig) remake(change ...func(*DutyOptions)) {
	g.t.Helper()
	o := DutyOptions{Store: g.store, Keyring: g.ring, Log: zaptest.NewLogger(g.t, zaptest.Level(zap.WarnLevel))}
	for _, c := range change {
		c(&o)
	}
	d, err := NewDuty(o)
	if err != nil {
		g.t.Fatal(err)
	}
	produce := d.produce
	d.produce = func(site *state.Site) ([]byte, error) { g.made.Add(1); return produce(site) }
	g.duty = d
}

// start runs the duty and returns what ends it and returns its error.
func (g *rig) start() (stop func() error) {
	ctx, cancel := context.WithCancel(g.t.Context())
	done := make(chan error, 1)
	go func() { done <- g.duty.Run(ctx, g.fence) }()
	return func() error { cancel(); return <-done }
}

// run runs the duty while f does, with the work of the start done before.
func (g *rig) run(f func()) {
	g.t.Helper()
	stop := g.start()
	synctest.Wait()
	f()
	if err := stop(); err != nil {
		g.t.Errorf("Run: %v", err)
	}
}

// pass lets fake time pass, until all have done what they do by then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func site(tlsType, domain string, aliases ...string) *state.Site {
	s := &state.Site{Domain: domain, Aliases: aliases, TLS: &state.SiteTLS{Type: tlsType}}
	if tlsType == state.TLSImported || tlsType == state.TLSKeyVault {
		s.TLS.Certificate = "shop"
	}
	return s
}

func plain(domain string, aliases ...string) *state.Site {
	return site(state.TLSSelfSigned, domain, aliases...)
}

func nameOf(s *state.Site) string {
	return secret.PairName(state.PrefixSelfSigned, s.Domain, s.Aliases)
}

func (g *rig) seal(cert, key []byte) []byte {
	g.t.Helper()
	return sealWith(g.t, g.ring, cert, key)
}

func sealWith(t testing.TB, r *secret.Keyring, cert, key []byte) []byte {
	t.Helper()
	packed, err := secret.PackPair(key, cert)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := r.Seal(packed)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// good fails unless a pair without any problem is stored for the site, and returns its certificate.
func (g *rig) good(s *state.Site) *x509.Certificate {
	g.t.Helper()
	sec, ok := g.store.Snapshot().Secret(nameOf(s))
	if !ok {
		g.t.Fatalf("%s has no pair", s.Domain)
	}
	packed, err := g.ring.Open(sec.Sealed)
	if err != nil {
		g.t.Fatalf("%s: %v", s.Domain, err)
	}
	key, cert, err := secret.UnpackPair(packed)
	if err != nil {
		g.t.Fatalf("%s: %v", s.Domain, err)
	}
	if ps := Judge(cert, key, s.Names(), time.Now()); len(ps) > 0 {
		g.t.Fatalf("%s: %v", s.Domain, ps)
	}
	return leafOf(g.t, cert)
}

func (g *rig) pairs() []string {
	var names []string
	for s := range g.store.Snapshot().Secrets(state.PrefixSelfSigned) {
		names = append(names, s.Name)
	}
	return names
}

func TestDuty_EveryTypeOfSite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		imported, acme := site(state.TLSImported, "i.test"), site(state.TLSACME, "have.test", "www.have.test")
		acmePair := secret.PairName(state.PrefixACME, "have.test", []string{"www.have.test"})
		put(t, g.store, &state.Secret{Name: state.PrefixImported + "shop", Sealed: []byte("x")},
			&state.Secret{Name: acmePair, Sealed: []byte("x")},
			plain("a.test"), imported, acme)
		needy := []*state.Site{plain("a.test"), plain("b.test", "www.b.test", "b.example"),
			site(state.TLSACME, "acme.test"), site(state.TLSKeyVault, "akv.test")}
		g.run(func() {
			put(t, g.store, needy[1], needy[2], needy[3])
			synctest.Wait()
			for _, s := range needy {
				g.good(s)
			}
			if n := len(g.pairs()); n != len(needy) || int(g.made.Load()) != len(needy) {
				t.Errorf("%d pairs, %d made, for %d sites", n, g.made.Load(), len(needy))
			}
		})
		for _, c := range []struct {
			site *state.Site
			want string
			note string
		}{
			{plain("a.test"), nameOf(plain("a.test")), ""},
			{&state.Site{Domain: "a.test"}, nameOf(plain("a.test")), ""},
			{imported, "cert/imported/shop", ""},
			{acme, acmePair, ""},
			{needy[2], nameOf(needy[2]), "acme cannot be issued"},
			{needy[3], nameOf(needy[3]), "akv cannot be issued"},
		} {
			name, note := PairFor(g.store.Snapshot(), c.site)
			if name != c.want || (note == "") != (c.note == "") || !strings.Contains(note, c.note) {
				t.Errorf("%s: %q, %q", c.site.Domain, name, note)
			}
		}
	})
}

func TestDuty_NothingIsMadeTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		for i := range 100 {
			put(t, g.store, plain(fmt.Sprintf("s%d.test", i)))
		}
		// Two at once, as when a term changes hands.
		g.run(func() { g.run(func() { pass(time.Minute) }) })
		rev := g.store.Snapshot().Revision()
		made := 0
		for _, n := range g.store.sizes {
			made += n
		}
		if made != 100 {
			t.Errorf("%d pairs stored for 100 sites: %v", made, g.store.sizes)
		}
		g.run(func() { pass(24 * time.Hour) })
		if now := g.store.Snapshot().Revision(); now != rev {
			t.Errorf("a second run changed the state: revision %d, then %d", rev, now)
		}
	})
}

func TestDuty_BatchesFitTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		var sites []*state.Site
		for i := range 90 {
			s := site(state.TLSACME, fmt.Sprintf("s%d.test", i))
			for j := range state.MaxNames - 1 {
				label := strings.Repeat("x", 60)
				s.Aliases = append(s.Aliases, fmt.Sprintf("a%d.b%d.%s.%s.%s.test", i, j, label, label, label))
			}
			sites = append(sites, s)
			put(t, g.store, s)
		}
		g.run(func() {
			for _, s := range sites {
				g.good(s)
			}
		})
		if slices.Max(g.store.sizes) > maxBatch || slices.Max(g.store.sizes) < 5 {
			t.Errorf("batches of %v", g.store.sizes)
		}
	})
}

// The cost of one change does not grow with the number of sites: no other pair is looked at, though all are due.
func TestDuty_OneMoreSiteCostsOneSite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var later atomic.Int64
		g := newRig(t, func(o *DutyOptions) {
			o.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
		})
		for i := range 200 {
			put(t, g.store, plain(fmt.Sprintf("s%d.test", i)))
		}
		g.run(func() {
			later.Store(int64(DefaultLife * 9 / 10))
			put(t, g.store, plain("new.test"))
			synctest.Wait()
			if n := g.made.Load(); n != 201 {
				t.Errorf("%d made instead of 201", n)
			}
			app := plain("s5.test")
			app.Temporary = true
			put(t, g.store, app)
			synctest.Wait()
			if n := g.made.Load(); n != 201 {
				t.Errorf("a change that has nothing to do with certificates made %d", n-201)
			}
			pass(2 * time.Hour)
			if n := g.made.Load(); n != 401 {
				t.Errorf("%d made after the periodic look, instead of 401", n)
			}
		})
	})
}

func TestDuty_ReplacesFaultyPairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		now := time.Now()
		make := func(r Request) []byte {
			cert, key := mustSelfSigned(t, r)
			return g.seal(cert, key)
		}
		cert, key := mustSelfSigned(t, Request{Names: []string{"otherkey.test"}, Now: now})
		_, wrongKey := mustSelfSigned(t, Request{Names: []string{"x.test"}, Now: now})
		packed, err := g.ring.Seal([]byte("junk"))
		if err != nil {
			t.Fatal(err)
		}
		const otherKey = "EBESExQVFhcYGRobHB0eHw=="
		for domain, c := range map[string]struct {
			sealed  []byte
			replace bool
		}{
			"good.test":      {make(Request{Names: []string{"good.test"}, Now: now}), false},
			"more.test":      {make(Request{Names: []string{"more.test", "x.test"}, Now: now}), false},
			"young.test":     {make(Request{Names: []string{"young.test"}, Now: now.Add(-DefaultLife * 6 / 10)}), false},
			"due.test":       {make(Request{Names: []string{"due.test"}, Now: now.Add(-DefaultLife * 7 / 10)}), true},
			"expired.test":   {make(Request{Names: []string{"expired.test"}, Now: now.Add(-DefaultLife * 2)}), true},
			"future.test":    {make(Request{Names: []string{"future.test"}, Now: now.Add(48 * time.Hour)}), true},
			"names.test":     {make(Request{Names: []string{"others.test"}, Now: now}), true},
			"short.test":     {[]byte("x"), true},
			"empty.test":     {nil, true},
			"junk.test":      {packed, true},
			"foreign.test":   {sealWith(t, ring(t, otherKey), cert, key), true},
			"keyswap.test":   {g.seal(cert, wrongKey), true},
			"otherkey.test":  {g.seal(cert, wrongKey), true},
			"nonsense.test":  {g.seal([]byte("CERTIF"), []byte("KEY")), true},
			"otherlife.test": {make(Request{Names: []string{"otherlife.test"}, Now: now.Add(-time.Hour), Life: 6 * time.Hour}), false},
		} {
			s := plain(domain)
			put(t, g.store, s, &state.Secret{Name: nameOf(s), Sealed: c.sealed})
			before := g.store.Snapshot().RevisionOf((&state.Secret{Name: nameOf(s)}).Key())
			g.run(func() {})
			if after := g.store.Snapshot().RevisionOf((&state.Secret{Name: nameOf(s)}).Key()); (after != before) != c.replace {
				t.Errorf("%s: replaced is %v", domain, after != before)
			}
			if c.replace {
				g.good(s)
			}
		}
	})
}

func TestDuty_OpensPairsOfOldKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		put(t, g.store, plain("a.test"))
		g.run(func() {})
		g.ring = ring(t, "EBESExQVFhcYGRobHB0eHw==", testKey)
		g.remake()
		g.run(func() {})
		if n := g.made.Load(); n != 1 {
			t.Errorf("made again after the key was changed: %d", n)
		}
	})
}

func TestDuty_RenewsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(o *DutyOptions) { o.Life = 72 * time.Hour; o.Period = 1000 * time.Hour })
		s := plain("a.test", "b.test")
		put(t, g.store, s)
		serials := map[string]bool{}
		g.run(func() {
			for range 20 * 24 {
				c := g.good(s)
				serials[c.SerialNumber.String()] = true
				if left := time.Until(c.NotAfter); left < 17*time.Hour {
					t.Fatalf("only %v left", left)
				}
				pass(time.Hour)
			}
		})
		// 47 to 55 hours each.
		if n := len(serials); n < 9 || n > 11 {
			t.Errorf("%d certificates in twenty days", n)
		}
	})
}

func TestDuty_RemovesUnusedPairsAfterGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		gone, swapped, realiased, kept := plain("gone.test"), plain("swapped.test"), plain("re.test", "x.test"), plain("kept.test")
		stray := &state.Secret{Name: state.PrefixSelfSigned + "000000000000000", Sealed: []byte("x")}
		put(t, g.store, gone, swapped, realiased, kept, stray, &state.Secret{Name: state.PrefixImported + "shop", Sealed: []byte("x")})
		g.run(func() {
			want := func(what string, sites ...*state.Site) {
				t.Helper()
				var names []string
				for _, s := range sites {
					names = append(names, nameOf(s))
					g.good(s)
				}
				slices.Sort(names)
				if got := g.pairs(); !slices.Equal(got, names) {
					t.Fatalf("%s: %v, want %v", what, got, names)
				}
			}
			pass(defaultGrace + time.Second)
			want("the stray one went", gone, swapped, realiased, kept)
			remove(t, g.store, gone.Key())
			remove(t, g.store, kept.Key())
			imported := site(state.TLSImported, "swapped.test")
			again := plain("re.test", "y.test")
			put(t, g.store, imported, again)
			pass(defaultGrace / 2)
			put(t, g.store, kept)
			made := g.made.Load()
			pass(defaultGrace/2 - time.Minute)
			want("within the grace", gone, swapped, realiased, again, kept)
			pass(2 * time.Minute)
			want("after the grace", again, kept)
			if g.made.Load() != made {
				t.Error("a site that came back within the grace got a new pair")
			}
			put(t, g.store, gone, swapped)
			synctest.Wait()
			want("back after the grace", gone, swapped, again, kept)
		})
	})
}

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
