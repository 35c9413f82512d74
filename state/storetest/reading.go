package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"statiko/state"
)

var readingTests = []test{
	{"WhatWasAcknowledgedIsInTheSnapshot", func(t *testing.T, h *Harness) {
		for _, kind := range h.kinds() {
			o := sample(kind, "one.test", 1)
			revision := put(t, h.Store, o)
			s := h.Store.Snapshot()
			if s.Revision() < revision {
				t.Fatalf("%s: the snapshot has revision %d, the update %d", kind, s.Revision(), revision)
			}
			if _, ok := s.Object(o.Key()); !ok {
				t.Fatalf("%s: the object is missing", kind)
			}
			if got := s.RevisionOf(o.Key()); got != revision {
				t.Fatalf("%s: the object has revision %d, the update %d", kind, got, revision)
			}
			remove(t, h.Store, o.Key())
			if _, ok := h.Store.Snapshot().Object(o.Key()); ok {
				t.Fatalf("%s: the object is still there", kind)
			}
		}
	}},
	{"EachChangeHasANewRevision", func(t *testing.T, h *Harness) {
		last := h.Store.Snapshot().Revision()
		for _, kind := range h.kinds() {
			tag := int64(0)
			for n := range 3 {
				o := sample(kind, "one.test", n)
				revision := put(t, h.Store, o)
				if revision <= last {
					t.Fatalf("%s: revision %d after %d", kind, revision, last)
				}
				if now := h.Store.Snapshot().RevisionOf(o.Key()); now <= tag {
					t.Fatalf("%s: the changed object has revision %d after %d", kind, now, tag)
				} else {
					tag = now
				}
				last = revision
			}
		}
	}},
	{"ASnapshotNeverChanges", func(t *testing.T, h *Harness) {
		for _, kind := range h.kinds() {
			put(t, h.Store, sample(kind, "one.test", 1))
		}
		held := h.Store.Snapshot()
		before := content(t, held, h.kinds())
		for n := 2; n < 20; n++ {
			for _, kind := range h.kinds() {
				put(t, h.Store, sample(kind, fmt.Sprintf("n%d.test", n), n))
			}
			if kind := h.kinds()[n%len(h.kinds())]; kind != state.KindDHParams {
				put(t, h.Store, sample(kind, "one.test", n))
				remove(t, h.Store, sample(kind, "one.test", n).Key())
			}
		}
		if _, err := h.Store.Restore(context.Background(), document(t), 0); err != nil {
			t.Fatal(err)
		}
		sameContent(t, content(t, held, h.kinds()), before)
	}},
	{"TheCallersObjectIsNotTheStores", func(t *testing.T, h *Harness) {
		mine := site("one.test", "two.test")
		put(t, h.Store, mine)
		mine.Aliases[0] = "changed.test"
		mine.TLS.Type = state.TLSACME
		got, ok := h.Store.Snapshot().Site("two.test")
		if !ok || got.Aliases[0] != "two.test" || got.TLS.Type != state.TLSSelfSigned {
			t.Fatalf("the store's object changed with the caller's: %+v", got)
		}
	}},
	{"SitesAreFoundByAnyNameAndByUse", func(t *testing.T, h *Harness) {
		put(t, h.Store, app("app-1"), certificate("cert-1"))
		put(t, h.Store, using(site("b.test", "www.b.test"), "app-1", ""))
		put(t, h.Store, using(site("a.test"), "app-1", "cert-1"))
		s := h.Store.Snapshot()
		for _, name := range []string{"b.test", "www.b.test"} {
			if got, ok := s.Site(name); !ok || got.Domain != "b.test" {
				t.Fatalf("%s: got %v, %v", name, got, ok)
			}
		}
		if _, ok := s.Site("c.test"); ok {
			t.Fatal("a site that does not exist was found")
		}
		if got := slices.Collect(s.Users(app("app-1").Key())); !slices.Equal(got, []string{"a.test", "b.test"}) {
			t.Fatalf("users of the bundle: %v", got)
		}
		if got := slices.Collect(s.Users(state.ImportedCertificateKey("cert-1"))); !slices.Equal(got, []string{"a.test"}) {
			t.Fatalf("users of the certificate: %v", got)
		}
		put(t, h.Store, site("a.test"))
		if got := slices.Collect(h.Store.Snapshot().Users(state.ImportedCertificateKey("cert-1"))); len(got) != 0 {
			t.Fatalf("users of the certificate after the change: %v", got)
		}
		var order []string
		for site := range s.Sites() {
			order = append(order, site.Domain)
		}
		if !slices.Equal(order, []string{"a.test", "b.test"}) {
			t.Fatalf("sites are not in order: %v", order)
		}
	}},
	{"ReadsNeverGoBackwards", func(t *testing.T, h *Harness) {
		for _, replica := range h.replicas() {
			for range 2 {
				last, n := int64(0), 0
				readAlong(t, replica, func(s *state.Snapshot) error {
					now := s.Len(state.KindSite)
					if s.Revision() < last || now < n {
						return fmt.Errorf("revision %d after %d, with %d sites after %d", s.Revision(), last, now, n)
					}
					last, n = s.Revision(), now
					return nil
				})
			}
		}
		for i := range 100 {
			put(t, h.Store, site(fmt.Sprintf("n%d.test", i)))
		}
	}},
	{"ReplicasConverge", func(t *testing.T, h *Harness) {
		if h.Second == nil {
			t.Skip("the backend has one replica")
		}
		second := h.Second()
		for i := range 50 {
			put(t, h.Store, site(fmt.Sprintf("a%d.test", i)))
			put(t, second, site(fmt.Sprintf("b%d.test", i)))
		}
		eventually(t, func() error {
			for _, s := range []state.Store{h.Store, second} {
				if n := s.Snapshot().Len(state.KindSite); n != 100 {
					return fmt.Errorf("%d sites of 100", n)
				}
			}
			return nil
		})
		want := content(t, second.Snapshot(), []state.Kind{state.KindSite})
		sameContent(t, content(t, h.Store.Snapshot(), []state.Kind{state.KindSite}), want)
	}},
	{"ChangedSinceLeavesNothingOut", func(t *testing.T, h *Harness) {
		var snapshots []*state.Snapshot
		note := func() { snapshots = append(snapshots, h.Store.Snapshot()) }
		note()
		for n := range 12 {
			for i, kind := range h.kinds() {
				put(t, h.Store, sample(kind, fmt.Sprintf("n%d.test", (n*7+i)%5), n))
				note()
			}
			if n%4 == 3 {
				for s := range h.Store.Snapshot().Sites() {
					remove(t, h.Store, s.Key())
					break
				}
				note()
			}
			if n == 6 {
				if _, err := h.Store.Restore(context.Background(), document(t, site("n1.test")), 0); err != nil {
					t.Fatal(err)
				}
				note()
			}
		}
		contents := make([]map[state.Key]string, len(snapshots))
		for i, s := range snapshots {
			contents[i] = content(t, s, h.kinds())
		}
		known := 0
		for i, old := range snapshots {
			for j, newer := range snapshots[i:] {
				keys, ok := newer.ChangedSince(old.Revision())
				if !ok {
					continue
				}
				known++
				reported := map[state.Key]bool{}
				for _, k := range keys {
					reported[k] = true
				}
				before, after := contents[i], contents[i+j]
				for k := range before {
					if after[k] != before[k] && !reported[k] {
						t.Fatalf("from %d to %d %s changed, which ChangedSince does not say", old.Revision(), newer.Revision(), k)
					}
				}
				for k := range after {
					if _, had := before[k]; !had && !reported[k] {
						t.Fatalf("from %d to %d %s came, which ChangedSince does not say", old.Revision(), newer.Revision(), k)
					}
				}
			}
		}
		if known <= len(snapshots) {
			t.Fatalf("ChangedSince almost never knew: %d of %d snapshots", known, len(snapshots))
		}
		if _, ok := snapshots[0].ChangedSince(h.Store.Snapshot().Revision()); ok {
			t.Fatal("an old snapshot says what changed since a newer one")
		}
	}},
}
