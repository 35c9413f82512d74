package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"statiko/bundle"
	"statiko/state"
)

// Whatever changes in whatever order: what following the changes led to is what looking at everything leads to, and
// what the state asks for.
func TestPass_ChangesLeadToWhatAFullLookLeadsTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.upload("good", "good", "page404: index.html\n")
	w.upload("other", "other", "")
	w.upload("bad", "bad", "rules: 1\n")
	w.run()
	domains := []string{"a.test", "b.test", "c.test", "d.test"}
	rapid.Check(t, func(rt *rapid.T) {
		var rev int64
		for range rapid.IntRange(1, 6).Draw(rt, "changes") {
			rev = w.change(func(d *state.Draft) error {
				s := newSite(rapid.SampledFrom(domains).Draw(rt, "domain"))
				switch rapid.IntRange(0, 9).Draw(rt, "kind") {
				case 0, 1:
					if d.Revision(s.Key()) == 0 {
						return nil
					}
					return d.Delete(s.Key())
				case 2: // a certificate is made anew, or too early, or for what is no more
					return d.Put(w.pair(s))
				}
				if app := rapid.SampledFrom([]string{"", "good", "other", "bad"}).Draw(rt, "app"); app != "" {
					s.App = &state.SiteApp{Name: app}
				}
				if alias := rapid.SampledFrom([]string{"", "x.test", "y.test"}).Draw(rt, "alias"); alias != "" {
					if owner, ok := d.Site(alias); ok && owner.Domain != s.Domain {
						freed := owner.Clone()
						freed.Aliases = nil
						if err := errors.Join(d.Put(freed), d.Put(w.pair(freed))); err != nil {
							return err
						}
					}
					s.Aliases = []string{alias}
				}
				return errors.Join(d.Put(s), d.Put(w.pair(s)))
			})
		}
		for s := range w.store.Snapshot().Sites() {
			if err := w.r.Wait(w.ctx(), rev, s.Domain); err != nil && s.AppName() != "bad" {
				rt.Fatalf("%s: %v", s.Domain, err)
			}
		}
		if err := w.r.Wait(w.ctx(), rev, ""); err != nil {
			rt.Fatal(err)
		}
		asked := map[string]bool{}
		for s := range w.store.Snapshot().Sites() {
			asked[s.Domain] = true
			served := w.server.site(s.Domain)
			switch {
			case s.AppName() == "bad":
				if st := w.r.Site(s.Domain); st.Healthy {
					rt.Fatalf("%s with a bad bundle is healthy: %+v", s.Domain, st)
				}
			case served == nil:
				rt.Fatalf("%s is not served: %+v", s.Domain, w.r.Site(s.Domain))
			default:
				version := ""
				if app, ok := w.store.Snapshot().App(s.AppName()); ok {
					version = app.SHA256
				}
				if served.Version != version || fmt.Sprint(served.Aliases) != fmt.Sprint(s.Aliases) {
					rt.Fatalf("%s is served as %s, asked for is %+v", s.Domain, w.server.word(s.Domain), s)
				}
			}
		}
		for d := range w.server.words() {
			if !asked[d] {
				rt.Fatalf("%s is served and not in the state", d)
			}
		}
		// A node that begins with this state, and the records of the first, serves the same.
		fresh := newRecorder()
		r := w.reconciler(fresh)
		stop := run(t, r)
		err := r.Wait(w.ctx(), rev, "")
		stop()
		if err != nil {
			rt.Fatal(err)
		}
		a, b := w.server.words(), fresh.words()
		for s := range w.store.Snapshot().Sites() {
			if served := w.server.site(s.Domain); s.AppName() == "bad" && served != nil && served.Version == "" {
				delete(a, s.Domain) // there was no bundle before, so there is nothing to go back to
			}
		}
		if !maps.Equal(a, b) {
			rt.Fatalf("following changes led to\n%v\na full look to\n%v", a, b)
		}
	})
}

// blockedRepository stores only after it is released.
type blockedRepository struct {
	bundle.Repository
	reached, release chan struct{}
}

func (b *blockedRepository) Create(ctx context.Context, name string, upload *bundle.Spool, meta bundle.Meta) error {
	close(b.reached)
	<-b.release
	return b.Repository.Create(ctx, name, upload, meta)
}

func TestCollect_LeavesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	blocked := &blockedRepository{Repository: w.library.Repository, reached: make(chan struct{}), release: make(chan struct{})}
	w.library.Repository = blocked
	w.run()
	done := make(chan *state.App)
	go func() { done <- w.upload("late", "late", "") }()
	<-blocked.reached // unpacked, and not in the state yet
	for range 5 {
		w.r.Sync()
		w.served(0, "")
	}
	close(blocked.release)
	app := <-done
	if !w.staged(app) {
		t.Error("a bundle in flight was tidied away")
	}
	w.served(w.put(newSiteWith("late", "a.test")), "a.test")
	w.version("a.test", app)
}

func TestCollect_RemovesWhatNothingUses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	used, unused := w.upload("used", "used", ""), w.upload("unused", "unused", "")
	w.run()
	w.served(w.put(newSiteWith("used", "a.test")), "a.test")
	w.r.Sync()
	w.served(0, "")
	if !w.staged(unused) {
		t.Error("a bundle of the state was tidied away: deploying it would have to unpack it")
	}
	if _, err := w.library.Remove(w.ctx(), "unused"); err != nil {
		t.Fatal(err)
	}
	w.r.Sync()
	w.served(0, "")
	if w.staged(unused) || !w.staged(used) {
		t.Errorf("unused=%t used=%t", w.staged(unused), w.staged(used))
	}
}

// BenchmarkPass_OneChange is the time from a change of one site to its being told to the web server.
func BenchmarkPass_OneChange(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("sites=%d", n), func(b *testing.B) {
			w := newWorld(b)
			var sites []*state.Site
			for i := range n {
				sites = append(sites, newSite(fmt.Sprintf("s%d.test", i)))
			}
			began := time.Now()
			rev := w.restore(sites...)
			w.run()
			w.served(rev, "")
			b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-to-begin")
			flip := false
			for b.Loop() {
				flip = !flip
				s := newSite("s7.test")
				if flip {
					s.Aliases = []string{"alias.test"}
				}
				w.served(w.put(s), "s7.test")
			}
		})
	}
}

// What one change costs does not grow with the number of sites. Counted, as times on a busy machine prove nothing.
func TestPass_OneChangeAmongManyIsOneSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var sites []*state.Site
	for i := range 5000 {
		sites = append(sites, newSite(fmt.Sprintf("s%d.test", i)))
	}
	rev := w.restore(sites...)
	w.run()
	w.served(rev, "")
	before := len(w.server.told())
	w.served(w.put(newSite("s7.test", "alias.test")), "s7.test")
	told := 0
	for _, n := range w.server.told()[before:] {
		told += n
	}
	if told < 1 || told > 2 {
		t.Errorf("one change among 5000 sites: the server was told of %d sites", told)
	}
	w.r.mark(func() { w.r.dirty["s9.test"] = true })
	domains, apps, everything := w.r.begin(w.store.Snapshot(), time.Now())
	if len(domains) != 1 || len(apps) != 0 || everything {
		t.Errorf("a pass looks at %d sites, everything=%t", len(domains), everything)
	}
}

// gatedRepository lets one archive be read only after it is released.
type gatedRepository struct {
	bundle.Repository
	once             sync.Once
	reading, release chan struct{}
}

func (g *gatedRepository) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, bundle.Meta, error) {
	r, meta, err := g.Repository.Open(ctx, name, offset)
	g.once.Do(func() {
		close(g.reading)
		<-g.release
	})
	return r, meta, err
}

// At its start a node takes up what only the repository has. What is removed at that moment stays removed.
func TestTakeUp_DoesNotBringBackWhatIsRemovedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.upload("kept", "kept", "")
	app := w.upload("gone", "gone", "")
	// The state does not know it any more; it is in the repository.
	w.change(func(d *state.Draft) error { return d.Delete(app.Key()) })
	if taken, err := w.library.TakeUp(w.ctx()); taken != 0 || err != nil {
		t.Fatalf("%d bundles were taken up that were removed from the state, %v", taken, err)
	}
	// As the earlier program, or a person, puts it there.
	if err := w.library.Repository.SetMeta(w.ctx(), "gone", bundle.Meta{Type: "zip"}); err != nil {
		t.Fatal(err)
	}
	gated := &gatedRepository{Repository: w.library.Repository, reading: make(chan struct{}), release: make(chan struct{})}
	w.library.Repository = gated
	done := make(chan error, 1)
	go func() {
		taken, err := w.library.TakeUp(context.Background())
		if taken != 0 {
			err = fmt.Errorf("%d bundles were taken up, %v", taken, err)
		}
		done <- err
	}()
	<-gated.reading
	if err := gated.Repository.Remove(w.ctx(), "gone"); err != nil {
		t.Fatal(err)
	}
	close(gated.release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, ok := w.store.Snapshot().App("gone"); ok {
		t.Error("the removed bundle is back in the state, without its archive")
	}
}
