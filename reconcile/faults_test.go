package reconcile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"statiko/secret"
	"statiko/state"
)

func TestPass_OneBadSiteAmongThousand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 1000
	var sites []*state.Site
	for i := range n {
		sites = append(sites, newSite(fmt.Sprintf("s%d.test", i)))
	}
	sites[10] = newSiteWith("missing", "s10.test")
	rev := w.restore(sites...)
	w.change(func(d *state.Draft) error {
		return d.Put(&state.Secret{Name: secret.PairName(state.PrefixSelfSigned, "s20.test", nil), Sealed: make([]byte, 40)})
	})
	w.server.refused["s30.test"] = errors.New("a certificate that it does not like")
	w.run()
	w.served(rev, "s0.test")
	w.served(rev, "s999.test")
	if got := len(w.server.words()); got != n-3 {
		t.Errorf("%d of %d sites are served after the first pass", got, n-3)
	}
	for domain, reason := range map[string]string{
		"s10.test": `the bundle "missing" is missing`, "s20.test": "cannot be opened", "s30.test": "does not like",
	} {
		err := w.r.Wait(w.ctx(), rev, domain)
		if st := w.r.Site(domain); !errors.Is(err, ErrFault) || st.Healthy || !strings.Contains(st.Err, reason) {
			t.Errorf("%s: %v, %+v", domain, err, st)
		}
	}
	if st := w.r.Status(); st.Err != nil {
		t.Errorf("faults of sites are none of the pass: %+v", st)
	}
	if len(w.server.told()) > 6 {
		t.Errorf("the server was told in %d calls: %v", len(w.server.told()), w.server.told())
	}
	// A new certificate is the remedy, and is seen without help.
	rev = w.put(newSite("s20.test"))
	w.served(rev, "s20.test")
}

// A server that takes nothing at all: it is told, nothing counts as served, and it is tried again.
func TestPass_ServerThatIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := w.upload("one", "1", "")
	next := w.upload("two", "2", "")
	w.run()
	w.served(w.put(newSiteWith("one", "a.test")), "a.test")

	w.server.set(func() { w.server.down = errors.New("the disk is full") })
	rev := w.put(newSiteWith("two", "a.test"), newSite("b.test"))
	eventually(t, func() error {
		st := w.r.Status()
		if st.Err == nil || st.Running || st.Revision < rev {
			return fmt.Errorf("status %+v", st)
		}
		return nil
	})
	for _, d := range []string{"a.test", "b.test", ""} {
		if err := w.r.Wait(w.ctx(), rev, d); !errors.Is(err, ErrFault) || !strings.Contains(err.Error(), "disk is full") {
			t.Errorf("waiting for %q: %v", d, err)
		}
		if st := w.r.Site(d); d != "" && (st.Healthy || !strings.Contains(st.Err, "disk is full")) {
			t.Errorf("%s is shown as %+v", d, st)
		}
	}
	if st := w.r.Site("a.test"); st.Serving != "one" {
		t.Errorf("what is served meanwhile: %+v", st)
	}
	w.version("a.test", app)
	w.server.set(func() { w.server.down = nil })
	eventually(t, func() error { // nobody asks for it
		if st := w.r.Status(); st.Err != nil {
			return st.Err
		}
		return nil
	})
	w.version("a.test", next)
	if st := w.r.Site("b.test"); !st.Healthy {
		t.Errorf("afterwards: %+v", st)
	}
}

// dropped is a store that tells nobody of changes.
type dropped struct{ state.Store }

func (d dropped) Wait(ctx context.Context, _ int64) (*state.Snapshot, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestRun_DroppedEventsOnlyDelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.r = w.reconciler(w.server, func(o *Options) { o.Store = dropped{w.store} })
	w.run()
	rev := w.put(newSite("a.test"))
	w.r.Sync()
	if err := w.r.Wait(w.ctx(), rev, ""); err != nil {
		t.Error(err)
	}
	if w.server.word("a.test") == "" {
		t.Error("a look that was asked for does not find the change")
	}
	w.stop()
	// Without anybody asking, the period finds it.
	w.r = w.reconciler(w.server, func(o *Options) { o.Store, o.Period = dropped{w.store}, 20*time.Millisecond })
	w.run()
	w.served(w.put(newSite("b.test")), "b.test")
	w.change(func(d *state.Draft) error { return d.Delete(newSite("a.test").Key()) })
	eventually(t, func() error {
		if word := w.server.word("a.test"); word != "" {
			return fmt.Errorf("the removed site is still served as %s", word)
		}
		return nil
	})
}

func TestPass_AliasMovesInOnePass(t *testing.T) {
	t.Parallel()
	for _, move := range [][2]string{{"a.test", "z.test"}, {"z.test", "a.test"}} {
		w := newWorld(t)
		w.put(newSite(move[0], "moves.test"), newSite(move[1]))
		w.run()
		w.served(0, move[0])
		for i := range 6 {
			from, to := move[i%2], move[(i+1)%2]
			rev := w.put(newSite(from), newSite(to, "moves.test"))
			w.served(rev, from)
			w.served(rev, to)
			if owner := w.server.ownerOf("moves.test"); owner != to {
				t.Errorf("the alias is %s's, not %s's", owner, to)
			}
		}
	}
}

// The same with so many sites that the server is told in several calls: it refuses the name at first.
func TestPass_AliasMovesBetweenCalls(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		w := newWorld(t)
		sites := func(first, last []string) (all []*state.Site) {
			for i := range 2*batch + 10 {
				s := newSite(fmt.Sprintf("s%05d.test", i), fmt.Sprintf("alias%d.test", len(first)))
				s.Aliases = nil
				switch i {
				case 0:
					s.Aliases = first
				case 2*batch + 9:
					s.Aliases = last
				}
				all = append(all, s)
			}
			return all
		}
		give, take := []string{"moves.test"}, []string(nil)
		if late {
			give, take = take, give
		}
		w.restore(sites(give, take)...)
		w.run()
		w.served(0, "")
		rev := w.restore(sites(take, give)...) // all objects are new, so that all are told again
		w.served(rev, "s00000.test")
		w.served(rev, "s01009.test")
		want := "s01009.test"
		if late {
			want = "s00000.test"
		}
		if owner := w.server.ownerOf("moves.test"); owner != want {
			t.Errorf("the alias is %s's, not %s's", owner, want)
		}
		w.stop()
	}
}

// A restore changes a site's names, takes away the certificate that it is served with, and brings no other; another site
// gets the name that it had. Both are served as the state asks as soon as the certificate is made, and not only at the next
// full pass.
func TestPass_RestoreTakesTheServedCertificateAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(newSite("a.test", "moves.test"))
	w.run()
	w.served(0, "a.test")
	a, b := newSite("a.test"), newSite("b.test", "moves.test")
	rev := w.restoreWith([]*state.Site{b}, a, b)
	eventually(t, func() error {
		if st := w.r.Site("a.test"); st.Healthy || !strings.Contains(st.Err, "waits for the leader") {
			return fmt.Errorf("a.test: %+v", st)
		}
		return nil
	})
	eventually(t, func() error {
		if st := w.r.Site("b.test"); st.Healthy || !strings.Contains(st.Err, "moves.test") {
			return fmt.Errorf("b.test: %+v", st)
		}
		return nil
	})
	rev = max(rev, w.change(func(d *state.Draft) error { return d.Put(w.pair(a)) }))
	w.served(rev, "a.test")
	eventually(t, func() error {
		if owner := w.server.ownerOf("moves.test"); owner != "b.test" {
			return fmt.Errorf("the name is %q's", owner)
		}
		return nil
	})
	w.served(rev, "b.test")
}

func TestPass_DomainBecomesAnAliasInOnePass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(newSite("old.test"), newSite("new.test"))
	w.run()
	w.served(0, "new.test")
	calls := len(w.server.told())
	rev := w.change(func(d *state.Draft) error {
		s := newSite("new.test", "old.test")
		return errors.Join(d.Delete(newSite("old.test").Key()), d.Put(w.pair(s)), d.Put(s))
	})
	w.served(rev, "new.test")
	if w.server.ownerOf("old.test") != "new.test" || w.server.word("old.test") != "" {
		t.Errorf("the name is %s's", w.server.ownerOf("old.test"))
	}
	if n := len(w.server.told()) - calls; n != 1 {
		t.Errorf("the server was told in %d calls: between them the name was nobody's", n)
	}
}

func TestPass_RemovedAndAddedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := w.upload("one", "1", "")
	w.run()
	w.served(w.put(newSiteWith("one", "a.test")), "a.test")
	for range 3 {
		rev := w.change(func(d *state.Draft) error { return d.Delete(newSite("a.test").Key()) })
		w.served(rev, "a.test")
		if w.server.word("a.test") != "" {
			t.Error("the removed site is served")
		}
		if _, ok := w.r.records.get("a.test"); ok {
			t.Error("there is a record of the removed site")
		}
		w.served(w.put(newSiteWith("one", "a.test")), "a.test")
		w.version("a.test", app)
	}
	// One that was never served leaves nothing behind, so that the next of the name begins anew.
	rev := w.change(func(d *state.Draft) error { return d.Put(newSite("waits.test")) })
	eventually(t, func() error {
		if st := w.r.Site("waits.test"); !strings.Contains(st.Err, "waits for the leader") || w.r.Status().Revision < rev {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	rev = w.change(func(d *state.Draft) error { return d.Delete(newSite("waits.test").Key()) })
	w.served(rev, "")
	w.r.mark(func() {
		if len(w.r.sites) != 1 || len(w.r.unsettledSites) != 0 || len(w.r.byPair) != 1 {
			t.Errorf("left behind: sites %v, unsettled %v, pairs %v", w.r.sites, w.r.unsettledSites, w.r.byPair)
		}
	})
	if st := w.r.Site("waits.test"); st.Healthy {
		t.Errorf("a site that is gone is %+v", st)
	}
}

func TestRecords_LastGoodVersionAfterARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.upload("good", "good", "")
	bad := w.upload("bad", "bad", "rules: 1\n")
	w.run()
	w.served(w.put(newSiteWith("good", "a.test"), newSiteWith("good", "gone.test")), "a.test")
	rev := w.put(newSiteWith("bad", "a.test"))
	if err := w.r.Wait(w.ctx(), rev, "a.test"); !errors.Is(err, ErrFault) {
		t.Errorf("a bad manifest: %v", err)
	}
	w.version("a.test", good)
	w.stop()
	// While no node runs, the good bundle is removed from the state, and so is a site.
	w.change(func(d *state.Draft) error { return d.Delete(newSite("gone.test").Key()) })
	if _, err := w.library.Remove(w.ctx(), "good"); err != nil {
		t.Fatal(err)
	}

	w.server = newRecorder()
	w.r = w.reconciler(w.server)
	w.run()
	if err := w.r.Wait(w.ctx(), w.store.Snapshot().Revision(), "a.test"); !errors.Is(err, ErrFault) {
		t.Errorf("after the restart: %v", err)
	}
	w.version("a.test", good)
	if st := w.r.Site("a.test"); st.Healthy || st.Serving != "good" || st.App != "bad" {
		t.Errorf("%+v", st)
	}
	if _, ok := w.r.records.get("gone.test"); ok {
		t.Error("the record of a site stays that was removed while no node ran")
	}
	w.r.Sync()
	w.served(0, "")
	if !w.staged(good) || !w.staged(bad) {
		t.Error("what is served was tidied away")
	}
	// Once something else is served, it goes.
	next := w.upload("next", "next", "")
	w.served(w.put(newSiteWith("next", "a.test")), "a.test")
	w.r.Sync()
	w.served(0, "")
	w.version("a.test", next)
	if w.staged(good) {
		t.Error("what nothing serves stays")
	}
	// A record that cannot be read costs nothing but itself.
	w.stop()
	entries, err := os.ReadDir(filepath.Join(w.dir, "served"))
	if err != nil || len(entries) != 1 {
		t.Fatalf("records %v, %v", entries, err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "served", entries[0].Name()), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.r = w.reconciler(w.server)
	w.run()
	w.served(0, "a.test")
}
