package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"statiko/state"
)

var errOfChange = errors.New("an error of the function")

var updatingTests = []test{
	{"AnErrorOfTheFunctionChangesNothing", func(t *testing.T, h *Harness) {
		before := h.Store.Snapshot().Revision()
		_, err := h.Store.Update(context.Background(), func(d *state.Draft) error {
			if err := d.Put(site("a.test")); err != nil {
				return err
			}
			return errOfChange
		})
		if err != errOfChange {
			t.Fatalf("got %v, want the function's own error", err)
		}
		if s := h.Store.Snapshot(); s.Revision() != before || s.Len(state.KindSite) != 0 {
			t.Fatal("something was changed")
		}
	}},
	{"AFailingPartLeavesOutTheWhole", func(t *testing.T, h *Harness) {
		put(t, h.Store, site("taken.test"))
		_, err := h.Store.Update(context.Background(), func(d *state.Draft) error {
			return putAll(d, site("a.test"), app("app-1"), site("b.test", "taken.test"))
		})
		wantErr(t, err, state.ErrExists)
		if s := h.Store.Snapshot(); s.Len(state.KindSite) != 1 || s.Len(state.KindApp) != 0 {
			t.Fatal("a part was stored")
		}
	}},
	{"ADraftReadsItsOwnWrites", func(t *testing.T, h *Harness) {
		update(t, h.Store, func(d *state.Draft) error {
			if err := putAll(d, app("app-1"), using(site("a.test", "www.a.test"), "app-1", "")); err != nil {
				return err
			}
			if s, ok := d.Site("www.a.test"); !ok || s.AppName() != "app-1" {
				return fmt.Errorf("the draft does not see the site: %v", s)
			}
			return nil
		})
	}},
	{"NobodySeesAPart", func(t *testing.T, h *Harness) {
		a, b := state.Key{Kind: state.KindEvent, Name: "a"}, state.Key{Kind: state.KindEvent, Name: "b"}
		both := func(n int) []state.Object {
			data := fmt.Appendf(nil, "%d", n)
			return []state.Object{&state.Record{Kind: a.Kind, Name: a.Name, Data: data}, &state.Record{Kind: b.Kind, Name: b.Name, Data: data}}
		}
		put(t, h.Store, both(0)...)
		for _, replica := range h.replicas() {
			readAlong(t, replica, func(s *state.Snapshot) error {
				x, okX := s.Object(a)
				y, okY := s.Object(b)
				if okX != okY || okX && string(x.(*state.Record).Data) != string(y.(*state.Record).Data) {
					return fmt.Errorf("a has %v, b has %v", x, y)
				}
				return nil
			})
		}
		for n := range 100 {
			put(t, h.Store, both(n+1)...)
		}
	}},
	{"ARefusalIsCheckedBeforeItIsReturned", func(t *testing.T, h *Harness) {
		other := h.replicas()[1]
		calls := 0
		update(t, h.Store, func(d *state.Draft) error {
			calls++
			_, ok := d.Site("a.test")
			if calls == 1 {
				put(t, other, site("a.test"))
			}
			if !ok {
				return errOfChange
			}
			return nil
		})
		if calls < 2 {
			t.Fatal("a refusal that came of a stale draft was returned")
		}
		calls = 0
		_, err := h.Store.Update(context.Background(), func(d *state.Draft) error {
			calls++
			err := d.Put(site("b.test", "a.test"))
			if calls == 1 {
				remove(t, other, state.Key{Kind: state.KindSite, Name: "a.test"})
			}
			return err
		})
		if err != nil || calls < 2 {
			t.Fatalf("ErrExists came of a stale draft: %v after %d calls", err, calls)
		}
		put(t, h.Store, app("app-1"), using(site("c.test"), "app-1", ""))
		calls = 0
		_, err = h.Store.Update(context.Background(), func(d *state.Draft) error {
			calls++
			err := d.Delete(app("app-1").Key())
			if calls == 1 {
				put(t, other, site("c.test"))
			}
			return err
		})
		if err != nil || calls < 2 {
			t.Fatalf("ErrInUse came of a stale draft: %v after %d calls", err, calls)
		}
	}},
	{"AnAbsenceIsCheckedBeforeNothingIsDone", func(t *testing.T, h *Harness) {
		other := h.replicas()[1]
		calls := 0
		update(t, h.Store, func(d *state.Draft) error {
			calls++
			_, ok := d.Secret("missing")
			if calls == 1 {
				put(t, other, &state.Secret{Name: "missing", Sealed: []byte("x")})
			}
			if ok != (calls > 1) {
				return fmt.Errorf("call %d: found is %v", calls, ok)
			}
			return nil
		})
		if calls != 2 {
			t.Fatalf("%d calls", calls)
		}
	}},
	{"AnAcceptanceIsCheckedToo", func(t *testing.T, h *Harness) {
		other := h.replicas()[1]
		put(t, h.Store, site("a.test"))
		calls := 0
		_, err := h.Store.Update(context.Background(), func(d *state.Draft) error {
			calls++
			if _, ok := d.Site("a.test"); !ok {
				return errOfChange
			}
			if calls == 1 {
				remove(t, other, state.Key{Kind: state.KindSite, Name: "a.test"})
			}
			return d.Put(site("b.test"))
		})
		if err != errOfChange || calls != 2 {
			t.Fatalf("got %v after %d calls", err, calls)
		}
	}},
	{"ChangesOfOtherObjectsDoNotDisturb", func(t *testing.T, h *Harness) {
		put(t, h.Store, site("a.test"))
		calls := 0
		update(t, h.Store, func(d *state.Draft) error {
			calls++
			put(t, h.Store, site(fmt.Sprintf("other%d.test", calls)))
			return d.Put(site("a.test", "www.a.test"))
		})
		if calls != 1 {
			t.Fatalf("%d calls", calls)
		}
	}},
	{"EndlessConflictsEnd", func(t *testing.T, h *Harness) {
		counter := func(n int) *state.Record {
			return &state.Record{Kind: state.KindEvent, Name: "n", Data: fmt.Appendf(nil, "%d", n)}
		}
		calls := 0
		_, err := h.Store.Update(context.Background(), func(d *state.Draft) error {
			calls++
			d.Object(counter(0).Key())
			put(t, h.Store, counter(calls))
			return d.Put(counter(-1))
		})
		wantErr(t, err, state.ErrConflict)
		got, _ := h.Store.Snapshot().Object(counter(0).Key())
		if raw, _ := got.MarshalJSON(); string(raw) != fmt.Sprint(calls) {
			t.Fatalf("the counter is %s after %d calls", raw, calls)
		}
	}},
	{"AnEndedContextSendsNothing", func(t *testing.T, h *Harness) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := h.Store.Update(ctx, func(d *state.Draft) error { return d.Put(site("a.test")) })
		wantErr(t, err, context.Canceled)
		_, err = h.Store.Restore(ctx, document(t, site("a.test")), 0)
		wantErr(t, err, context.Canceled)
		put(t, h.Store, site("b.test"))
		if _, ok := h.Store.Snapshot().Site("a.test"); ok {
			t.Fatal("it was sent")
		}
	}},
	{"NoUpdateIsLostAmongEightWriters", func(t *testing.T, h *Harness) {
		replicas := h.replicas()
		const writers, each = 8, 12
		key := state.Key{Kind: state.KindEvent, Name: "counter"}
		var wg sync.WaitGroup
		for w := range writers {
			store := replicas[w%len(replicas)]
			wg.Go(func() {
				for i := range each {
					err := retryConflicts(store, func(d *state.Draft) error {
						n := 0
						if o, ok := d.Object(key); ok {
							if err := json.Unmarshal(o.(*state.Record).Data, &n); err != nil {
								return err
							}
						}
						return putAll(d, &state.Record{Kind: key.Kind, Name: key.Name, Data: fmt.Appendf(nil, "%d", n+1)},
							site(fmt.Sprintf("w%d-%d.test", w, i)))
					})
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		eventually(t, func() error {
			s := h.Store.Snapshot()
			if n := s.Len(state.KindSite); n != writers*each {
				return fmt.Errorf("%d sites of %d", n, writers*each)
			}
			if o, _ := s.Object(key); string(o.(*state.Record).Data) != fmt.Sprint(writers*each) {
				return fmt.Errorf("the counter is %s, want %d", o.(*state.Record).Data, writers*each)
			}
			return nil
		})
	}},
}

// retryConflicts repeats an update that others got ahead of too often, which under a race is no fault.
func retryConflicts(s state.Store, change func(*state.Draft) error) error {
	for {
		_, err := s.Update(context.Background(), change)
		if !errors.Is(err, state.ErrConflict) {
			return err
		}
	}
}
