package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"statiko/state"
)

var nameTests = []test{
	{"ANameHasOneSiteUnderRaces", func(t *testing.T, h *Harness) {
		replicas := h.replicas()
		for round := range 25 {
			name := fmt.Sprintf("wanted%d.test", round)
			var won atomic.Int32
			var wg sync.WaitGroup
			for w := range 8 {
				store := replicas[w%len(replicas)]
				mine := site(fmt.Sprintf("r%d-w%d.test", round, w), "free-"+fmt.Sprint(round, "-", w)+".test", name)
				if w%2 == 0 {
					mine = site(name, fmt.Sprintf("r%d-w%d.test", round, w))
				}
				wg.Go(func() {
					err := retryConflicts(store, func(d *state.Draft) error {
						// As the API does for a new site.
						if _, ok := d.Site(mine.Domain); ok {
							return state.Errorf(state.ErrExists, mine.Key(), "domain", "exists")
						}
						return d.Put(mine)
					})
					switch {
					case err == nil:
						won.Add(1)
					case !errors.Is(err, state.ErrExists):
						t.Errorf("got %v, want ErrExists", err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Fatalf("%s: %d of 8 writers got it", name, won.Load())
			}
		}
		for _, store := range replicas {
			eventually(t, func() error {
				seen := map[string]string{}
				for s := range store.Snapshot().Sites() {
					for _, n := range s.Names() {
						if other, ok := seen[n]; ok {
							t.Fatalf("%s belongs to %s and %s", n, other, s.Domain)
						}
						seen[n] = s.Domain
						if found, ok := store.Snapshot().Site(n); !ok || found.Domain != s.Domain {
							return fmt.Errorf("%s does not lead to %s", n, s.Domain)
						}
					}
				}
				if n := store.Snapshot().Len(state.KindSite); n != 25 {
					return fmt.Errorf("%d sites of 25", n)
				}
				return nil
			})
		}
	}},
	{"EachCollisionIsNamed", func(t *testing.T, h *Harness) {
		put(t, h.Store, site("a.test", "www.a.test"))
		for field, s := range map[string]*state.Site{
			"domain":     site("www.a.test"),
			"aliases[0]": site("b.test", "a.test"),
			"aliases[1]": site("b.test", "free.test", "WWW.a.test"),
		} {
			_, err := h.Store.Update(context.Background(), func(d *state.Draft) error { return d.Put(s) })
			wantErr(t, err, state.ErrExists)
			var e *state.Error
			if !errors.As(err, &e) || e.Field != field {
				t.Errorf("%s: the error names %q: %v", field, e.Field, err)
			}
		}
	}},
	{"ANameCanMoveInOneUpdate", func(t *testing.T, h *Harness) {
		put(t, h.Store, site("a.test", "www.test"))
		update(t, h.Store, func(d *state.Draft) error { return putAll(d, site("a.test"), site("b.test", "www.test")) })
		if s, ok := h.Store.Snapshot().Site("www.test"); !ok || s.Domain != "b.test" {
			t.Fatalf("www.test leads to %v", s)
		}
		update(t, h.Store, func(d *state.Draft) error {
			if err := d.Delete(state.Key{Kind: state.KindSite, Name: "b.test"}); err != nil {
				return err
			}
			return d.Put(site("www.test", "b.test"))
		})
		if s, ok := h.Store.Snapshot().Site("b.test"); !ok || s.Domain != "www.test" {
			t.Fatalf("b.test leads to %v", s)
		}
	}},
	{"AFreedNameIsFree", func(t *testing.T, h *Harness) {
		put(t, h.Store, site("a.test", "www.test"))
		put(t, h.Store, site("a.test"))
		put(t, h.Store, site("www.test"))
		remove(t, h.Store, state.Key{Kind: state.KindSite, Name: "a.test"})
		put(t, h.Store, site("b.test", "a.test"))
	}},
}
