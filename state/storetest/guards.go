package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"statiko/state"
)

// guardRounds is how often a use races a removal. Without guards a few dozen rounds are enough to see both succeed.
const guardRounds = 200

var guardTests = []test{
	{"NothingIsRemovedWhileSomebodyStartsToUseIt", func(t *testing.T, h *Harness) {
		replicas := h.replicas()
		rounds := guardRounds
		if testing.Short() {
			rounds = 30
		}
		used, gone := 0, 0
		for round := range rounds {
			o, s := state.Object(app("app")), using(site("user.test"), "app", "")
			if round%2 == 1 {
				o, s = certificate("cert"), using(site("user.test"), "", "cert")
			}
			put(t, h.Store, o)
			eventually(t, func() error {
				if _, ok := replicas[1].Snapshot().Object(o.Key()); !ok {
					return fmt.Errorf("round %d: the second replica lacks %s", round, o.Key())
				}
				return nil
			})
			var useErr, removeErr error
			var wg sync.WaitGroup
			wg.Go(func() {
				useErr = retryConflicts(replicas[round/2%2], func(d *state.Draft) error { return d.Put(s) })
			})
			wg.Go(func() {
				removeErr = retryConflicts(replicas[1-round/2%2], func(d *state.Draft) error { return d.Delete(o.Key()) })
			})
			wg.Wait()
			switch {
			case useErr == nil && errors.Is(removeErr, state.ErrInUse):
				used++
				update(t, replicas[round/2%2], func(d *state.Draft) error { return d.Delete(s.Key()) })
				// Whoever still sees the user runs again, so that this cannot fail.
				remove(t, replicas[round/2%2], o.Key())
			case removeErr == nil && errors.Is(useErr, state.ErrNotFound):
				gone++
			default:
				t.Fatalf("round %d: using it gave %v, removing it %v", round, useErr, removeErr)
			}
		}
		t.Logf("the user was first %d times, the removal %d times", used, gone)
	}},
	{"WhatASiteCanGoBackToIsInUse", func(t *testing.T, h *Harness) {
		older, newer := app("older"), app("newer")
		put(t, h.Store, older, newer)
		s := site("user.test")
		s.Deploy(older, nil, time.Now(), 2)
		s.Deploy(newer, older, time.Now(), 2)
		calls := 0
		_, err := h.Store.Update(context.Background(), func(d *state.Draft) error {
			if calls++; calls == 1 {
				put(t, h.Store, s) // somebody starts to use it after the draft was made
			}
			return d.Delete(older.Key())
		})
		wantErr(t, err, state.ErrInUse)
		if !strings.Contains(err.Error(), "user.test (to go back to)") {
			t.Errorf("the refusal is %q; want it to say why", err)
		}
		s = s.Clone()
		s.History = s.History[:1]
		put(t, h.Store, s)
		remove(t, h.Store, older.Key())
	}},
	{"UsersOfOneObjectDoNotDisturbEachOther", func(t *testing.T, h *Harness) {
		put(t, h.Store, app("app"), certificate("cert"))
		put(t, h.Store, using(site("leaves.test"), "app", "cert"))
		for _, change := range []*state.Site{using(site("a.test"), "app", "cert"), site("leaves.test")} {
			calls := 0
			update(t, h.Store, func(d *state.Draft) error {
				calls++
				put(t, h.Store, using(site(fmt.Sprintf("other%d-%s", calls, change.Domain)), "app", "cert"))
				return d.Put(change)
			})
			if calls != 1 {
				t.Fatalf("%s: %d calls", change.Domain, calls)
			}
		}
	}},
	{"ChangingAnObjectDoesNotDisturbWhoStartsToUseIt", func(t *testing.T, h *Harness) {
		put(t, h.Store, certificate("cert"))
		calls := 0
		update(t, h.Store, func(d *state.Draft) error {
			calls++
			put(t, h.Store, &state.Secret{Name: certificate("cert").Name, Sealed: fmt.Appendf(nil, "renewed %d", calls)})
			return d.Put(using(site("a.test"), "", "cert"))
		})
		if calls != 1 {
			t.Fatalf("%d calls", calls)
		}
	}},
	{"WhatIsMissingIsNotUsed", func(t *testing.T, h *Harness) {
		for field, s := range map[string]*state.Site{
			"app.name": using(site("a.test"), "app", ""),
			"tls.cert": using(site("a.test"), "", "cert"),
		} {
			_, err := h.Store.Update(context.Background(), func(d *state.Draft) error { return d.Put(s) })
			wantErr(t, err, state.ErrNotFound)
			var e *state.Error
			if !errors.As(err, &e) || e.Field != field {
				t.Errorf("%s: the error names %q: %v", field, e.Field, err)
			}
		}
		_, err := h.Store.Update(context.Background(), func(d *state.Draft) error { return d.Delete(app("app").Key()) })
		wantErr(t, err, state.ErrNotFound)
	}},
	{"WhatIsUsedIsNotRemoved", func(t *testing.T, h *Harness) {
		put(t, h.Store, app("app"), certificate("cert"))
		put(t, h.Store, using(site("a.test"), "app", "cert"), using(site("b.test"), "app", ""))
		for _, k := range []state.Key{app("app").Key(), certificate("cert").Key()} {
			_, err := h.Store.Update(context.Background(), func(d *state.Draft) error { return d.Delete(k) })
			wantErr(t, err, state.ErrInUse)
		}
		remove(t, h.Store, site("b.test").Key())
		_, err := h.Store.Update(context.Background(), func(d *state.Draft) error { return d.Delete(app("app").Key()) })
		wantErr(t, err, state.ErrInUse)
		// Users and what they use go together.
		update(t, h.Store, func(d *state.Draft) error {
			for _, k := range []state.Key{site("a.test").Key(), app("app").Key(), certificate("cert").Key()} {
				if err := d.Delete(k); err != nil {
					return err
				}
			}
			return nil
		})
		s := h.Store.Snapshot()
		if n := s.Len(state.KindSite) + s.Len(state.KindApp) + s.Len(state.KindSecret) + s.Len(state.KindGuard); n != 0 {
			t.Fatalf("%d objects are left", n)
		}
		if users := slices.Collect(s.Users(app("app").Key())); len(users) != 0 {
			t.Fatalf("users are left: %v", users)
		}
	}},
}
