package storetest

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"statiko/state"
)

var persistenceTests = []test{
	{"EverythingIsThereAfterReopening", func(t *testing.T, h *Harness) {
		for n := range 3 {
			for _, kind := range h.kinds() {
				put(t, h.Store, sample(kind, fmt.Sprintf("n%d.test", n), n))
			}
			before := h.Store.Snapshot()
			h.Store = reopen(t, h)
			after := h.Store.Snapshot()
			sameContent(t, content(t, after, h.kinds()), content(t, before, h.kinds()))
			if after.Revision() < before.Revision() {
				t.Fatalf("revision %d after %d", after.Revision(), before.Revision())
			}
			for s := range before.Sites() {
				for _, name := range s.Names() {
					if found, ok := after.Site(name); !ok || found.Domain != s.Domain {
						t.Fatalf("%s does not lead to %s", name, s.Domain)
					}
				}
			}
			if !bytes.Equal(text(t, before), text(t, after)) {
				t.Fatal("the document is not the same")
			}
		}
	}},
	{"WhatWasRemovedIsGoneAfterReopening", func(t *testing.T, h *Harness) {
		for _, kind := range h.kinds() {
			put(t, h.Store, sample(kind, "n.test", 1))
		}
		h.Store = reopen(t, h)
		for _, kind := range h.kinds() {
			remove(t, h.Store, sample(kind, "n.test", 1).Key())
		}
		h.Store = reopen(t, h)
		sameContent(t, content(t, h.Store.Snapshot(), h.kinds()), nil)
		put(t, h.Store, site("n.test"))
	}},
	{"MembersOfANewerVersionAreKept", func(t *testing.T, h *Harness) {
		raw := `{"domain":"a.test","aliases":null,"tls":{"type":"selfsigned","newer":[1, 2]},"app":null,"later":{"b": "<", "a":1}}`
		o, err := state.Decode(state.KindSite, "a.test", []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		put(t, h.Store, o)
		check := func(want string) {
			t.Helper()
			s, ok := h.Store.Snapshot().Site("a.test")
			if !ok {
				t.Fatal("the site is missing")
			}
			got, err := s.MarshalJSON()
			if err != nil || compact(t, got) != want {
				t.Fatalf("got %s, %v, want %s", got, err, want)
			}
		}
		check(compact(t, []byte(raw)))
		h.Store = reopen(t, h)
		check(compact(t, []byte(raw)))
		update(t, h.Store, func(d *state.Draft) error {
			s, _ := d.Site("a.test")
			s = s.Clone()
			s.Aliases = []string{"b.test"}
			return d.Put(s)
		})
		h.Store = reopen(t, h)
		check(`{"domain":"a.test","aliases":["b.test"],"tls":{"type":"selfsigned","newer":[1,2]},"app":null,"later":{"b":"<","a":1}}`)
	}},
	{"RevisionsGoOnAfterReopening", func(t *testing.T, h *Harness) {
		last := h.Store.Snapshot().Revision()
		for n := range 4 {
			revision := put(t, h.Store, sample(state.KindSite, "a.test", n))
			if revision <= last {
				t.Fatalf("revision %d after %d", revision, last)
			}
			last = revision
			if n == 2 {
				var err error
				if last, err = h.Store.Restore(context.Background(), document(t, site("b.test")), revision); err != nil {
					t.Fatal(err)
				}
			}
			h.Store = reopen(t, h)
			if now := h.Store.Snapshot().Revision(); now < last {
				t.Fatalf("revision %d after %d", now, last)
			}
		}
	}},
	{"ARestoreIsThereAfterReopening", func(t *testing.T, h *Harness) {
		put(t, h.Store, manySites("old", 40)[:40]...)
		put(t, h.Store, sample(state.KindMember, "m", 1))
		if _, err := h.Store.Restore(context.Background(), document(t, manySites("new", 300)...), 0); err != nil {
			t.Fatal(err)
		}
		put(t, h.Store, site("after.test"))
		before := content(t, h.Store.Snapshot(), h.kinds())
		h.Store = reopen(t, h)
		sameContent(t, content(t, h.Store.Snapshot(), h.kinds()), before)
		if n := h.Store.Snapshot().Len(state.KindSite); n != 301 {
			t.Fatalf("%d sites of 301", n)
		}
	}},
}

func reopen(t *testing.T, h *Harness) state.Store {
	t.Helper()
	if h.Reopen == nil {
		t.Skip("the store cannot be opened again")
	}
	return h.Reopen()
}

func text(t *testing.T, s *state.Snapshot) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.WriteDocument(&b, state.DocumentOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
