package reconcile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"statiko/bundle"
	"statiko/state"
)

func TestWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	// For a certificate, which nobody makes here: it waits until ctx ends, for the site and for everything.
	rev := w.change(func(d *state.Draft) error { return d.Put(newSite("a.test")) })
	for _, domain := range []string{"a.test", ""} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		if err := w.r.Wait(ctx, rev, domain); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for %q while its certificate is missing: %v", domain, err)
		}
		cancel()
	}
	if st := w.r.Status(); !st.Running {
		t.Errorf("a site waits, and %+v", st)
	}
	waited := make(chan error, 1)
	go func() { waited <- w.r.Wait(context.Background(), rev, "a.test") }()
	w.change(func(d *state.Draft) error { return d.Put(w.pair(newSite("a.test"))) })
	if err := <-waited; err != nil {
		t.Errorf("once the certificate is there: %v", err)
	}
	// Sites that others wait for do not concern a site that is served.
	w.change(func(d *state.Draft) error { return d.Put(newSite("b.test")) })
	w.served(0, "a.test")
	// What is not committed yet is waited for.
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := w.r.Wait(ctx, w.store.Snapshot().Revision()+1, "a.test"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a revision to come: %v", err)
	}
	// A fault is told at once, and a refusal only once it was tried again.
	w.server.set(func() { w.server.refused["c.test"] = errors.New("no") })
	rev = w.put(newSite("c.test"))
	if err := w.r.Wait(w.ctx(), rev, "c.test"); !errors.Is(err, ErrFault) || !strings.Contains(err.Error(), "no") {
		t.Errorf("a refused site: %v", err)
	}
}

func TestStatus_RunningHasPatience(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	w := newWorld(t, func(o *Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	w.run()
	rev := w.change(func(d *state.Draft) error { return d.Put(newSite("a.test")) })
	eventually(t, func() error {
		if st := w.r.Status(); st.Revision < rev || !st.Running {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	ahead.Store(int64(patience - time.Second))
	if !w.r.Status().Running {
		t.Error("running ends before patience does")
	}
	ahead.Store(int64(patience + time.Second))
	if w.r.Status().Running {
		t.Error("a site that nobody makes a certificate for keeps running true for ever")
	}
	if st := w.r.Site("a.test"); st.Healthy || st.Err == "" {
		t.Errorf("and it is shown as %+v", st)
	}
}

// A node whose folder of unpacked bundles is lost says that it is at work until they are back, not that it failed.
func TestStage_LostFolderIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := w.upload("one", "1", "")
	w.put(newSiteWith("one", "a.test"))
	if err := w.library.Collect(nil); err != nil { // it is in the state, so it stays
		t.Fatal(err)
	}
	if !w.staged(app) {
		t.Fatal("the bundle in the state was tidied away")
	}
	if err := os.RemoveAll(filepath.Join(w.dir, "apps", app.SHA256)); err != nil {
		t.Fatal(err)
	}
	slow := &slowBundles{Bundles: w.library, release: make(chan struct{})}
	w.r = w.reconciler(w.server, func(o *Options) { o.Bundles = slow })
	w.run()
	rev := w.store.Snapshot().Revision()
	eventually(t, func() error {
		if st := w.r.Site("a.test"); !strings.Contains(st.Err, "being unpacked") {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := w.r.Wait(ctx, rev, "a.test"); !errors.Is(err, context.DeadlineExceeded) || !w.r.Status().Running {
		t.Errorf("meanwhile: %v, %+v", err, w.r.Status())
	}
	w.served(w.put(newSite("b.test")), "b.test") // others do not wait
	close(slow.release)
	w.served(0, "a.test")
	w.version("a.test", app)
}

// slowBundles unpacks only after it is released.
type slowBundles struct {
	Bundles
	release chan struct{}
	// tries counts the calls by name; fail says what becomes of them.
	tries atomic.Int64
	fail  func(name string) error
}

func (s *slowBundles) Ensure(ctx context.Context, app *state.App) (*bundle.Staged, error) {
	s.tries.Add(1)
	select {
	case <-s.release:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.fail != nil {
		if err := s.fail(app.Name); err != nil {
			return nil, err
		}
	}
	return s.Bundles.Ensure(ctx, app)
}

// Of two names for the same bytes, one cannot be fetched. That is no fault of the other's.
func TestStage_SameBytesUnderAnotherName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := w.upload("a-lost", "same", "")
	w.upload("b-found", "same", "")
	w.put(newSiteWith("b-found", "b.test"))
	if err := os.RemoveAll(filepath.Join(w.dir, "apps", app.SHA256)); err != nil {
		t.Fatal(err)
	}
	open := make(chan struct{})
	close(open)
	w.r = w.reconciler(w.server, func(o *Options) {
		o.Bundles = &slowBundles{Bundles: w.library, release: open, fail: func(name string) error {
			if name == "a-lost" {
				return errors.New("it is lost")
			}
			return nil
		}}
	})
	w.run()
	eventually(t, func() error {
		if st := w.r.Site("b.test"); !st.Healthy {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
}

// A bundle that could not be fetched is tried again soon, and not only when something else changes or everything is
// looked at: the node that has it may have come up meanwhile. So is one that no site has yet.
func TestStage_WhatFailedIsTriedAgainByItself(t *testing.T) {
	t.Parallel()
	for _, deployed := range []bool{true, false} {
		w := newWorld(t)
		app := w.upload("late", "late", "")
		if deployed {
			w.put(newSiteWith("late", "a.test"))
		}
		if err := os.RemoveAll(filepath.Join(w.dir, "apps", app.SHA256)); err != nil {
			t.Fatal(err)
		}
		open := make(chan struct{})
		close(open)
		bundles := &slowBundles{Bundles: w.library, release: open}
		bundles.fail = func(string) error {
			if bundles.tries.Load() == 1 {
				return errors.New("no other node is up")
			}
			return nil
		}
		w.r = w.reconciler(w.server, func(o *Options) { o.Bundles = bundles })
		w.run()
		eventually(t, func() error {
			if st := w.r.Site("a.test"); deployed && !st.Healthy {
				return fmt.Errorf("%+v", st)
			}
			if !w.staged(app) {
				return fmt.Errorf("not unpacked after %d tries", bundles.tries.Load())
			}
			return nil
		})
	}
}

// A document may give two names for the same bytes different times. The folder has one of them, and keeps it.
func TestStage_SameBytesWithOtherTimesComeToRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.upload("a", "same", "")
	later := w.upload("b", "same", "").Clone()
	later.Uploaded = later.Uploaded.Add(time.Hour)
	w.change(func(d *state.Draft) error { return d.Put(later) })
	w.put(newSiteWith("a", "a.test"), newSiteWith("b", "b.test"))
	w.run()
	w.served(0, "a.test")
	w.served(0, "b.test")
	calls := len(w.server.told())
	for range 5 {
		w.r.Sync()
		w.served(0, "")
		for _, d := range []string{"a.test", "b.test"} {
			if st := w.r.Site(d); !st.Healthy {
				t.Errorf("%+v", st)
			}
		}
	}
	if n := len(w.server.told()); n != calls {
		t.Errorf("the server was told %d times more though nothing changes", n-calls)
	}
}

// What failed again and again is left alone for longer and longer, until somebody asks.
func TestSync_TriesAgainWhatFailed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := w.upload("one", "1", "")
	w.put(newSiteWith("one", "a.test"))
	if err := os.RemoveAll(filepath.Join(w.dir, "apps", app.SHA256)); err != nil {
		t.Fatal(err)
	}
	open := make(chan struct{})
	close(open)
	var away atomic.Bool
	away.Store(true)
	slow := &slowBundles{Bundles: w.library, release: open, fail: func(string) error {
		if away.Load() {
			return errors.New("the repository is away")
		}
		return nil
	}}
	w.r = w.reconciler(w.server, func(o *Options) { o.Bundles = slow })
	w.run()
	for try := int64(1); try <= 6; try++ {
		eventually(t, func() error {
			if n := slow.tries.Load(); n < try {
				return fmt.Errorf("tried %d times, not %d", n, try)
			}
			if st := w.r.Site("a.test"); !strings.Contains(st.Err, "is away") {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})
		w.put(newSite(fmt.Sprintf("other%d.test", try))) // passes by themselves do not try again
		w.served(0, fmt.Sprintf("other%d.test", try))
		if n := slow.tries.Load(); n != try {
			t.Fatalf("tried %d times without being asked, not %d", n, try)
		}
		if try == 6 {
			away.Store(false)
		}
		w.r.Sync()
	}
	eventually(t, func() error {
		if st := w.r.Site("a.test"); !st.Healthy {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
}
