package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"statiko/state"
)

var outcomeTests = []test{
	{"ABrokenBackendIsReadAndChangesFail", func(t *testing.T, h *Harness) {
		timeout := breakable(t, h)
		revision := put(t, h.Store, site("a.test"), app("app"))
		before := content(t, h.Store.Snapshot(), h.kinds())
		h.Break()
		for i := range 3 {
			var err error
			within(t, timeout, "an update on a broken backend", func() {
				_, err = h.Store.Update(context.Background(), func(d *state.Draft) error { return d.Put(site(fmt.Sprintf("b%d.test", i))) })
			})
			mustFail(t, err)
		}
		var err error
		within(t, timeout, "a restore on a broken backend", func() {
			_, err = h.Store.Restore(context.Background(), document(t, site("c.test")), 0)
		})
		mustFail(t, err)
		eventually(t, func() error {
			if health := h.Store.Health(); health.Healthy || health.Reason == "" || health.Backend == "" || health.Since.IsZero() {
				return fmt.Errorf("health is %+v", health)
			}
			return nil
		})
		if now := h.Store.Snapshot().Revision(); now != revision {
			t.Fatalf("revision %d after %d", now, revision)
		}
		sameContent(t, content(t, h.Store.Snapshot(), h.kinds()), before)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		_, err = h.Store.Wait(ctx, revision)
		wantErr(t, err, context.DeadlineExceeded)
		h.Heal()
	}},
	{"AHealedBackendWorksAgainByItself", func(t *testing.T, h *Harness) {
		breakable(t, h)
		put(t, h.Store, site("a.test"))
		never := map[string]bool{}
		for round := range 3 {
			h.Break()
			for i := range 3 {
				domain := fmt.Sprintf("never-%d-%d.test", round, i)
				_, err := h.Store.Update(context.Background(), func(d *state.Draft) error { return d.Put(site(domain)) })
				mustFail(t, err)
				if errors.Is(err, state.ErrUnavailable) {
					never[domain] = true
				}
			}
			h.Heal()
			eventually(t, func() error {
				_, err := h.Store.Update(context.Background(), func(d *state.Draft) error { return d.Put(site(fmt.Sprintf("back%d.test", round))) })
				return err
			})
			eventually(t, func() error {
				if health := h.Store.Health(); !health.Healthy {
					return fmt.Errorf("health is %+v", health)
				}
				return nil
			})
		}
		check := func(s *state.Snapshot) {
			t.Helper()
			for _, domain := range []string{"a.test", "back0.test", "back1.test", "back2.test"} {
				if _, ok := s.Site(domain); !ok {
					t.Fatalf("%s is missing", domain)
				}
			}
			for domain := range never {
				if _, ok := s.Site(domain); ok {
					t.Fatalf("%s was refused as unavailable, and is there", domain)
				}
			}
		}
		check(h.Store.Snapshot())
		if h.Reopen != nil {
			h.Store = h.Reopen()
			check(h.Store.Snapshot())
		}
	}},
	{"AnUnknownOutcomeIsSettledAndNeverHalf", func(t *testing.T, h *Harness) {
		breakable(t, h)
		for round := range 4 {
			h.Break()
			a, b := fmt.Sprintf("a%d.test", round), fmt.Sprintf("b%d.test", round)
			_, err := h.Store.Update(context.Background(), func(d *state.Draft) error { return putAll(d, site(a), site(b)) })
			mustFail(t, err)
			h.Heal()
			eventually(t, func() error {
				_, err := h.Store.Update(context.Background(), func(d *state.Draft) error { return d.Put(site(fmt.Sprintf("c%d.test", round))) })
				return err
			})
			s := h.Store.Snapshot()
			_, okA := s.Site(a)
			_, okB := s.Site(b)
			if okA != okB || okA && errors.Is(err, state.ErrUnavailable) {
				t.Fatalf("after %v: a is there: %v, b: %v", err, okA, okB)
			}
		}
	}},
	{"AHealthyStoreSaysSo", func(t *testing.T, h *Harness) {
		put(t, h.Store, site("a.test"))
		if health := h.Store.Health(); !health.Healthy || health.Reason != "" || health.Backend == "" || health.Since.IsZero() {
			t.Fatalf("health is %+v", health)
		}
	}},
}

func breakable(t *testing.T, h *Harness) time.Duration {
	if h.Break == nil {
		t.Skip("the backend cannot be broken")
	}
	if h.Timeout > 0 {
		return h.Timeout
	}
	return 10 * time.Second
}

func mustFail(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, state.ErrUnavailable) && !errors.Is(err, state.ErrUnknown) {
		t.Fatalf("a broken backend answered %v", err)
	}
}
