package certs

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"statiko/secret"
	"statiko/state"
	"statiko/state/storetest"
)

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

// A site that is added while the duty begins gets its pair, and not only when something else changes.
func TestDuty_NothingIsMissedAsItBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		added := func() { put(t, g.store, plain("a.test")) }
		g.remake(func(o *DutyOptions) { o.Store = &storetest.Changing{Store: g.store, Change: added} })
		g.run(func() { pass(5 * time.Second) })
		if g.made.Load() != 1 {
			t.Error("nothing was made")
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
