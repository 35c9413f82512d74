package reconcile

import (
	"slices"
	"sync"
	"testing"

	"statiko/state"
)

// Whoever sees a revision applied was told before what was changed for it; equal answers of Served mean that nothing was.
func TestChanged_IsToldBeforeTheStatusTells(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var told []string
	var w *world
	w = newWorld(t, func(o *Options) {
		o.Changed = func(domains []string) {
			applied := w.r.Status().Revision
			mu.Lock()
			defer mu.Unlock()
			told = append(told, domains...)
			if applied == w.store.Snapshot().Revision() {
				t.Errorf("%v was told after the status", domains)
			}
		}
	})
	want := func(domains ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(told)
		if !slices.Equal(told, domains) {
			t.Errorf("told of %v, want %v", told, domains)
		}
		told = nil
	}
	w.run()
	rev := w.put(newSite("a.test"), newSite("b.test"))
	if err := w.r.Wait(w.ctx(), rev, ""); err != nil {
		t.Fatal(err)
	}
	want("a.test", "b.test")
	a, _ := w.r.Served("a.test")
	b, ok := w.r.Served("b.test")
	if !ok || a == b {
		t.Errorf("%+v and %+v are served", a, b)
	}

	w.r.Sync() // nothing changed
	if err := w.r.Wait(w.ctx(), rev, ""); err != nil {
		t.Fatal(err)
	}
	want()
	rev = w.put(newSite("a.test", "www.a.test"))
	if err := w.r.Wait(w.ctx(), rev, ""); err != nil {
		t.Fatal(err)
	}
	want("a.test")
	if now, _ := w.r.Served("a.test"); now == a {
		t.Error("what is served changed, and Served does not tell")
	}
	if now, _ := w.r.Served("b.test"); now != b {
		t.Error("nothing changed, and Served tells otherwise")
	}
	rev = w.change(func(d *state.Draft) error { return d.Delete(newSite("a.test").Key()) })
	if err := w.r.Wait(w.ctx(), rev, ""); err != nil {
		t.Fatal(err)
	}
	want("a.test")
	if _, ok := w.r.Served("a.test"); ok {
		t.Error("it is still served")
	}
}
