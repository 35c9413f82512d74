package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"statiko/state"
)

var restoreTests = []test{
	{"ReplacesTheDocumentsKindsAndNoOthers", func(t *testing.T, h *Harness) {
		for _, kind := range h.kinds() {
			put(t, h.Store, sample(kind, "old.test", 1))
			put(t, h.Store, sample(kind, "both.test", 1))
		}
		put(t, h.Store, using(site("user.test"), "both.test", ""))
		before := h.Store.Snapshot()
		want := map[state.Key]string{}
		var objects []state.Object
		for _, kind := range h.kinds() {
			if !kind.InDocument() {
				for k, v := range content(t, before, []state.Kind{kind}) {
					want[k] = v
				}
				continue
			}
			for _, name := range []string{"both.test", "new.test"} {
				if kind == state.KindDHParams && name == "new.test" {
					continue
				}
				o := sample(kind, name, 2)
				objects = append(objects, o)
				raw, _ := o.MarshalJSON()
				want[o.Key()] = compact(t, raw)
			}
		}
		doc := document(t, objects...)
		revision, err := h.Store.Restore(context.Background(), doc, 0)
		if err != nil {
			t.Fatal(err)
		}
		s := h.Store.Snapshot()
		if revision <= before.Revision() || s.Revision() < revision {
			t.Fatalf("revision %d after %d, snapshot %d", revision, before.Revision(), s.Revision())
		}
		sameContent(t, content(t, s, h.kinds()), want)
		for _, name := range []string{"old.test", "alias-1.old.test", "alias-1.both.test", "user.test"} {
			if found, ok := s.Site(name); ok {
				t.Fatalf("%s still leads to %s", name, found.Domain)
			}
		}
		if found, ok := s.Site("alias-2.new.test"); !ok || found.Domain != "new.test" {
			t.Fatal("alias-2.new.test does not lead to new.test")
		}
		if s.Head() == before.Head() {
			t.Fatal("the head is the same as before the restore")
		}
		if _, ok := s.ChangedSince(before.Revision()); ok {
			t.Fatal("ChangedSince claims to know all that a restore changed")
		}
		// What went is free again, what was used is not in use.
		put(t, h.Store, site("fresh.test", "old.test", "alias-1.both.test"))
		remove(t, h.Store, state.Key{Kind: state.KindApp, Name: "both.test"})
		// The document was not touched, and can be restored again.
		if _, err := h.Store.Restore(context.Background(), doc, 0); err != nil {
			t.Fatal(err)
		}
		sameContent(t, content(t, h.Store.Snapshot(), h.kinds()), want)
	}},
	{"EveryObjectHasTheNewRevision", func(t *testing.T, h *Harness) {
		put(t, h.Store, site("a.test"))
		before := h.Store.Snapshot().RevisionOf(site("a.test").Key())
		revision, err := h.Store.Restore(context.Background(), document(t, site("a.test")), 0)
		if err != nil {
			t.Fatal(err)
		}
		if after := h.Store.Snapshot().RevisionOf(site("a.test").Key()); after == before || after > revision {
			t.Fatalf("the site has revision %d, before %d, the restore %d", after, before, revision)
		}
	}},
	{"AnOldRevisionIsRefused", func(t *testing.T, h *Harness) {
		old := put(t, h.Store, site("a.test"))
		now := put(t, h.Store, site("b.test"))
		_, err := h.Store.Restore(context.Background(), document(t), old)
		wantErr(t, err, state.ErrPrecondition)
		if h.Store.Snapshot().Len(state.KindSite) != 2 {
			t.Fatal("it was restored")
		}
		if _, err := h.Store.Restore(context.Background(), document(t), now); err != nil {
			t.Fatal(err)
		}
	}},
	{"NobodySeesAHalf", func(t *testing.T, h *Harness) {
		const n = 400
		docs := []*state.Document{document(t, manySites("a", n)...), document(t, manySites("b", n+1)...)}
		if _, err := h.Store.Restore(context.Background(), docs[0], 0); err != nil {
			t.Fatal(err)
		}
		for _, replica := range h.replicas() {
			eventually(t, func() error {
				if n := replica.Snapshot().Len(state.KindSite); n == 0 {
					return fmt.Errorf("the replica is empty")
				}
				return nil
			})
			readAlong(t, replica, func(s *state.Snapshot) error {
				first, count := "", 0
				for site := range s.Sites() {
					if count++; count == 1 {
						first = site.Domain[:1]
					}
					if site.Domain[:1] != first {
						return errors.New("sites of both documents")
					}
					if by, ok := s.Site("www." + site.Domain); !ok || by != site {
						return fmt.Errorf("the alias of %s does not lead to it", site.Domain)
					}
				}
				if want := n + strings.Index("ab", first); count != want {
					return fmt.Errorf("%d sites of %d", count, want)
				}
				return nil
			})
		}
		for i := range 8 {
			if _, err := h.Store.Restore(context.Background(), docs[(i+1)%2], 0); err != nil {
				t.Fatal(err)
			}
		}
	}},
	{"AnySizeIsRestored", func(t *testing.T, h *Harness) {
		n := 5000
		if testing.Short() {
			n = 1000
		}
		if _, err := h.Store.Restore(context.Background(), document(t, manySites("n", n)...), 0); err != nil {
			t.Fatal(err)
		}
		if got := h.Store.Snapshot().Len(state.KindSite); got != n {
			t.Fatalf("%d sites of %d", got, n)
		}
	}},
	{"AnUpdateMadeForTheOldStateRunsAgain", func(t *testing.T, h *Harness) {
		other := h.replicas()[1]
		put(t, h.Store, site("a.test"), app("app"))
		calls := 0
		_, err := h.Store.Update(context.Background(), func(d *state.Draft) error {
			calls++
			_, ok := d.Site("a.test")
			if calls == 1 {
				if _, err := other.Restore(context.Background(), document(t, using(site("b.test"), "app", ""), app("app")), 0); err != nil {
					return err
				}
			}
			if !ok {
				return errOfChange
			}
			return d.Put(site("a.test", "www.a.test"))
		})
		if err != errOfChange || calls != 2 {
			t.Fatalf("got %v after %d calls", err, calls)
		}
		calls = 0
		_, err = h.Store.Update(context.Background(), func(d *state.Draft) error {
			calls++
			if calls == 1 {
				if _, err := other.Restore(context.Background(), document(t, site("c.test"), app("app")), 0); err != nil {
					return err
				}
			}
			return d.Delete(app("app").Key())
		})
		if err != nil || calls != 2 {
			t.Fatalf("removing what the restored document does not use: %v after %d calls", err, calls)
		}
	}},
	{"WakesWhoWaits", func(t *testing.T, h *Harness) {
		revision := put(t, h.Store, site("a.test"))
		done := make(chan error, 1)
		go func() {
			s, err := h.Store.Wait(context.Background(), revision)
			if err == nil && s.Len(state.KindSite) != 0 {
				err = fmt.Errorf("%d sites", s.Len(state.KindSite))
			}
			done <- err
		}()
		if _, err := h.Store.Restore(context.Background(), document(t), 0); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("Wait goes on")
		}
	}},
	{"WhatIsWrittenIsRestoredToTheSameBytes", func(t *testing.T, h *Harness) {
		for i, kind := range h.kinds() {
			if kind != state.KindQuarantine {
				put(t, h.Store, sample(kind, fmt.Sprintf("n%d.test", i), i))
			}
		}
		text := func() []byte {
			var b bytes.Buffer
			if err := h.Store.Snapshot().WriteDocument(&b, state.DocumentOptions{}); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		}
		before := text()
		doc, err := state.ParseDocument(before)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Store.Restore(context.Background(), doc, 0); err != nil {
			t.Fatal(err)
		}
		if after := text(); !bytes.Equal(before, after) {
			t.Fatalf("before:\n%s\nafter:\n%s", before, after)
		}
	}},
}
