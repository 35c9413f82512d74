package storetest

import (
	"context"
	"fmt"
	"testing"

	"statiko/state"
)

var limitTests = []test{
	{"TooLargeIsRefusedBeforeAnythingIsSent", func(t *testing.T, h *Harness) {
		before := h.Store.Snapshot().Revision()
		for what, change := range map[string]func(d *state.Draft) error{
			"writes": func(d *state.Draft) error { return putAll(d, manySites("n", 100)...) },
			"compares": func(d *state.Draft) error {
				for i := range 200 {
					d.Site(fmt.Sprintf("n%d.test", i))
				}
				return d.Put(site("a.test"))
			},
			"bytes": func(d *state.Draft) error {
				for i := range 3 {
					if err := d.Put(&state.Secret{Name: fmt.Sprintf("s%d", i), Sealed: make([]byte, 400<<10)}); err != nil {
						return err
					}
				}
				return nil
			},
		} {
			_, err := h.Store.Update(context.Background(), change)
			if err == nil {
				t.Fatalf("%s: no error", what)
			}
			wantErr(t, err, state.ErrTooLarge)
		}
		if now := h.Store.Snapshot().Revision(); now != before {
			t.Fatalf("revision %d after %d", now, before)
		}
	}},
	{"ASiteCanReplaceAllItsNamesAtOnce", func(t *testing.T, h *Harness) {
		names := func(prefix string) []string {
			var aliases []string
			for i := range state.MaxNames - 1 {
				aliases = append(aliases, fmt.Sprintf("%s%d.test", prefix, i))
			}
			return aliases
		}
		put(t, h.Store, app("app-1"), app("app-2"), certificate("cert-1"), certificate("cert-2"))
		put(t, h.Store, using(site("a.test", names("x")...), "app-1", "cert-1"))
		put(t, h.Store, using(site("a.test", names("y")...), "app-2", "cert-2"))
		s := h.Store.Snapshot()
		for i := range state.MaxNames - 1 {
			if _, ok := s.Site(fmt.Sprintf("x%d.test", i)); ok {
				t.Fatalf("x%d.test is still a name", i)
			}
			if _, ok := s.Site(fmt.Sprintf("y%d.test", i)); !ok {
				t.Fatalf("y%d.test is no name", i)
			}
		}
		remove(t, h.Store, state.Key{Kind: state.KindSite, Name: "a.test"})
		put(t, h.Store, site("y0.test"))
	}},
	{"ASiteHasAtMostSixtyNames", func(t *testing.T, h *Harness) {
		var aliases []string
		for i := range state.MaxNames {
			aliases = append(aliases, fmt.Sprintf("x%d.test", i))
		}
		_, err := h.Store.Update(context.Background(), func(d *state.Draft) error { return d.Put(site("a.test", aliases...)) })
		wantErr(t, err, state.ErrInvalid)
	}},
	{"ABatchOfFortyCertificatesFits", func(t *testing.T, h *Harness) {
		put(t, h.Store, manySites("n", 40)[:20]...)
		put(t, h.Store, manySites("n", 40)[20:]...)
		update(t, h.Store, func(d *state.Draft) error {
			for i := range 40 {
				// A duty reads the site that it makes a certificate for.
				if _, ok := d.Object(state.Key{Kind: state.KindSite, Name: fmt.Sprintf("n-%05d.test", i)}); !ok {
					return fmt.Errorf("site %d is missing", i)
				}
				if err := d.Put(&state.Secret{Name: fmt.Sprintf("%s%d", state.PrefixSelfSigned, i), Sealed: make([]byte, 12<<10)}); err != nil {
					return err
				}
			}
			return nil
		})
	}},
}
