package state

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBuilder_OldSnapshotsStayAsTheyWere(t *testing.T) {
	t.Parallel()
	s := NewSnapshot(Head{}, 1)
	var snapshots []*Snapshot
	for i := range 500 {
		s = with(t, s, func(d *Draft) error { return d.Put(&Site{Domain: fmt.Sprintf("n%d.test", i)}) })
		snapshots = append(snapshots, s)
	}
	for i := 499; i >= 0; i-- {
		s = with(t, s, func(d *Draft) error { return d.Delete(Key{KindSite, fmt.Sprintf("n%d.test", i)}) })
	}
	for i, s := range snapshots {
		if s.Len(KindSite) != i+1 || s.Len(KindName) != i+1 || s.Revision() != int64(i+2) {
			t.Fatalf("snapshot %d has %d sites, %d names, revision %d", i, s.Len(KindSite), s.Len(KindName), s.Revision())
		}
		if _, ok := s.Site(fmt.Sprintf("n%d.test", i)); !ok {
			t.Fatalf("snapshot %d lacks its site", i)
		}
		if _, ok := s.Site(fmt.Sprintf("n%d.test", i+1)); ok {
			t.Fatalf("snapshot %d has the next one's site", i)
		}
	}
}

func TestChangedSince_IsCompleteOrFalse(t *testing.T) {
	t.Parallel()
	s := NewSnapshot(Head{}, 10)
	if keys, ok := s.ChangedSince(10); !ok || len(keys) != 0 {
		t.Fatalf("nothing has changed: %v, %v", keys, ok)
	}
	if _, ok := s.ChangedSince(9); ok {
		t.Fatal("what was before the first snapshot is known")
	}
	revisions := maxChanges + 100
	for range revisions {
		b := s.Build()
		b.Put(&Record{Kind: KindEvent, Name: fmt.Sprint(s.Revision() + 1), Data: []byte("1")}, s.Revision()+1)
		s = b.Snapshot(s.Revision() + 1)
	}
	newest := s.Revision()
	for _, back := range []int64{0, 1, 2, maxChanges - 1, maxChanges, maxChanges + 1, maxChanges + 50} {
		keys, ok := s.ChangedSince(newest - back)
		if !ok {
			if back <= maxChanges {
				t.Fatalf("%d revisions back are forgotten", back)
			}
			continue
		}
		if int64(len(keys)) != back {
			t.Fatalf("%d revisions back: %d keys", back, len(keys))
		}
		for i, k := range keys {
			if k.Name != fmt.Sprint(newest-back+int64(i)+1) {
				t.Fatalf("%d revisions back: key %d is %s", back, i, k)
			}
		}
	}
	if _, ok := s.ChangedSince(newest + 1); ok {
		t.Fatal("a revision that is newer than the snapshot is known")
	}
	if s.changes.Len() > maxChanges {
		t.Fatalf("%d revisions are kept", s.changes.Len())
	}
	// Several changes in one revision, by several builders.
	for _, name := range []string{"a", "b"} {
		b := s.Build()
		b.Put(&Record{Kind: KindEvent, Name: name, Data: []byte("1")}, newest+1)
		s = b.Snapshot(newest + 1)
	}
	if keys, ok := s.ChangedSince(newest); !ok || len(keys) != 2 {
		t.Fatalf("got %v, %v", keys, ok)
	}
}

func TestBuilder_UsersFollowTheSites(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	s := NewSnapshot(Head{}, 1)
	want := map[string]string{}
	for i := range 400 {
		domain := fmt.Sprintf("n%d.test", random.IntN(20))
		b := s.Build()
		if random.IntN(4) == 0 {
			b.Delete(Key{KindSite, domain}, s.Revision()+1)
			delete(want, domain)
		} else {
			app := fmt.Sprintf("app-%d", random.IntN(3))
			b.Put(&Site{Domain: domain, App: &SiteApp{Name: app}, TLS: &SiteTLS{Type: TLSSelfSigned}}, s.Revision()+1)
			want[domain] = app
		}
		s = b.Snapshot(s.Revision() + 1)
		total := 0
		for a := range 3 {
			for domain := range s.Users(Key{KindApp, fmt.Sprintf("app-%d", a)}) {
				total++
				if want[domain] != fmt.Sprintf("app-%d", a) {
					t.Fatalf("step %d: app-%d is used by %s", i, a, domain)
				}
			}
		}
		if total != len(want) {
			t.Fatalf("step %d: %d users of %d", i, total, len(want))
		}
	}
}

func TestRestored_LeavesTheOldSnapshotAlone(t *testing.T) {
	t.Parallel()
	old := with(t, NewSnapshot(Head{KeyID: "old"}, 5), func(d *Draft) error {
		if err := d.Put(&Record{Kind: KindMember, Name: "m", Data: []byte("1")}); err != nil {
			return err
		}
		return d.Put(&Site{Domain: "a.test", Aliases: []string{"b.test"}})
	})
	doc, err := ParseDocument([]byte(`{"sites":[{"domain":"b.test"}],"keyId":"new"}`))
	if err != nil {
		t.Fatal(err)
	}
	restored := old.Restored(doc, 9)
	if s, ok := restored.Site("b.test"); !ok || s.Domain != "b.test" {
		t.Fatalf("b.test leads to %v", s)
	}
	if _, ok := restored.Site("a.test"); ok {
		t.Fatal("a.test is left")
	}
	if restored.Head() != (Head{KeyID: "new", Generation: 1}) || restored.Revision() != 9 {
		t.Fatalf("got %+v, revision %d", restored.Head(), restored.Revision())
	}
	if restored.RevisionOf(Key{KindMember, "m"}) != 6 {
		t.Fatal("the member is not as it was")
	}
	later := with(t, restored, func(d *Draft) error { return d.Delete(Key{KindMember, "m"}) })
	if _, ok := old.Object(Key{KindMember, "m"}); !ok || later.Len(KindMember) != 0 {
		t.Fatal("the snapshots are not independent")
	}
	if s, ok := old.Site("b.test"); !ok || s.Domain != "a.test" || old.Head().KeyID != "old" {
		t.Fatal("the old snapshot has changed")
	}
}

func TestSnapshot_SecretsByPrefix(t *testing.T) {
	t.Parallel()
	s := with(t, NewSnapshot(Head{}, 1), func(d *Draft) error {
		for _, n := range []string{"cert/imported/b", "cert/imported/a", "cert/selfsigned/x", "acme/keys/x", "cert/importee"} {
			if err := d.Put(&Secret{Name: n, Sealed: []byte("x")}); err != nil {
				return err
			}
		}
		return nil
	})
	var names []string
	for secret := range s.Secrets(PrefixImported) {
		names = append(names, secret.Name)
	}
	if !slices.Equal(names, []string{"cert/imported/a", "cert/imported/b"}) {
		t.Fatalf("got %v", names)
	}
	for range s.Secrets("") {
		return
	}
	t.Fatal("no secrets at all")
}

func TestDraft_WhatItDependsOn(t *testing.T) {
	t.Parallel()
	base := with(t, NewSnapshot(Head{}, 1), func(d *Draft) error {
		for _, o := range []Object{
			&App{Name: "app", Type: "zip", SHA256: fmt.Sprintf("%064x", 1)},
			&Site{Domain: "user.test", App: &SiteApp{Name: "app"}},
			&Secret{Name: PrefixImported + "cert", Sealed: []byte("x")},
		} {
			if err := d.Put(o); err != nil {
				return err
			}
		}
		return nil
	})
	txn := func(change func(d *Draft) error) *Txn {
		t.Helper()
		d := newDraft(base)
		if err := change(d); err != nil && !errors.Is(err, ErrInUse) {
			t.Fatal(err)
		}
		made, err := d.txn(nil)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	compared := func(made *Txn, k Key) (Compare, bool) {
		for _, c := range made.Compares {
			if c.Key == k {
				return c, true
			}
		}
		return Compare{}, false
	}
	appKey := Key{KindApp, "app"}

	adds := txn(func(d *Draft) error { return d.Put(&Site{Domain: "new.test", App: &SiteApp{Name: "app"}}) })
	if c, ok := compared(adds, appKey); !ok || !c.AnyRevision {
		t.Error("a new user does not make sure that the bundle exists, or depends on its content")
	}
	if _, ok := compared(adds, appKey.guard()); ok {
		t.Error("a new user depends on the guard, so that users disturb each other")
	}
	if !slices.ContainsFunc(adds.Writes, func(w Write) bool { return w.Key == appKey.guard() }) {
		t.Error("a new user does not change the guard")
	}

	stays := txn(func(d *Draft) error {
		return d.Put(&Site{Domain: "user.test", Temporary: true, App: &SiteApp{Name: "app"}})
	})
	if _, ok := compared(stays, appKey); ok || len(stays.Writes) != 1 {
		t.Errorf("a change that keeps the bundle depends on it: %+v", stays)
	}

	removes := txn(func(d *Draft) error { return d.Delete(appKey) })
	if _, ok := compared(removes, appKey.guard()); !ok {
		t.Error("the refusal to remove a bundle does not depend on who starts or stops to use it")
	}

	cert := ImportedCertificateKey("cert")
	gone := txn(func(d *Draft) error { return d.Delete(cert) })
	if c, ok := compared(gone, cert.guard()); !ok || c.Revision != 0 {
		t.Error("removing what was never used does not make sure that it still is not")
	}

	for name, change := range map[string]func(d *Draft) error{
		"the same site": func(d *Draft) error { return d.Put(&Site{Domain: "USER.test", App: &SiteApp{Name: "App"}}) },
		"made and removed": func(d *Draft) error {
			if err := d.Put(&Site{Domain: "x.test", Aliases: []string{"y.test"}}); err != nil {
				return err
			}
			return d.Delete(Key{KindSite, "x.test"})
		},
		"only read": func(d *Draft) error { d.Site("absent.test"); return nil },
	} {
		if made := txn(change); len(made.Writes) != 0 || len(made.Compares) == 0 {
			t.Errorf("%s: %+v", name, made)
		}
	}
}

func TestDraft_RefusesWhatIsNoObject(t *testing.T) {
	t.Parallel()
	for hazard, o := range map[string]Object{
		"site with a faulty name":  &Site{Domain: "-"},
		"bundle without a hash":    &App{Name: "a", Type: "zip"},
		"secret that is too large": &Secret{Name: "x", Sealed: make([]byte, MaxSecret+1)},
		"secret without a name":    &Secret{},
		"parameters without PEM":   &DHParams{},
		"record without a name":    &Record{Kind: KindEvent, Data: []byte("1")},
		"record that is not JSON":  &Record{Kind: KindEvent, Name: "x", Data: []byte("{")},
		"record without data":      &Record{Kind: KindEvent, Name: "x"},
		"index entry":              &nameEntry{"a.test", "b.test"},
		"guard":                    &guardEntry{"apps/x"},
		"record of an index kind":  &Record{Kind: KindName, Name: "a.test", Data: []byte(`"b.test"`)},
		"record that is a site":    &Record{Kind: KindSite, Name: "a.test", Data: []byte("{}")},
		"record of unknown kind":   &Record{Kind: "nonsense", Name: "x", Data: []byte("1")},
	} {
		d := newDraft(NewSnapshot(Head{}, 1))
		if err := d.Put(o); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", hazard, err)
		}
		if len(d.writes) != 0 {
			t.Errorf("%s: it was written", hazard)
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, sites := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprintf("%d sites", sites), func(b *testing.B) {
			doc := &Document{}
			for i := range sites {
				doc.objects[KindSite.rank()] = append(doc.objects[KindSite.rank()],
					&Site{Domain: fmt.Sprintf("n%d.test", i), Aliases: []string{fmt.Sprintf("www.n%d.test", i)}, TLS: &SiteTLS{Type: TLSSelfSigned}})
			}
			s := NewSnapshot(Head{}, 0).Restored(doc, 1)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s = with(b, s, func(d *Draft) error {
					site, _ := d.Site(fmt.Sprintf("www.n%d.test", i%sites))
					site = site.Clone()
					site.Temporary = !site.Temporary
					return d.Put(site)
				})
			}
		})
	}
}

// A load takes objects of any age: their revisions are older than what the snapshot can tell about.
func TestChangedSince_AfterALoadOfOldObjects(t *testing.T) {
	const loadedAt = 100000
	b := NewSnapshot(Head{}, loadedAt).Build()
	for i := int64(1); i <= maxChanges+100; i++ {
		b.Put(&Record{Kind: KindEvent, Name: fmt.Sprint(i), Data: []byte("1")}, i)
	}
	s := b.Snapshot(loadedAt)
	for _, before := range []int64{1, maxChanges, loadedAt - 1} {
		if keys, ok := s.ChangedSince(before); ok {
			t.Errorf("since %d, before the load, %d changes are said to be all", before, len(keys))
		}
	}
	b = s.Build()
	gone := Key{KindEvent, "7"}
	b.Delete(gone, loadedAt+1)
	if keys, ok := b.Snapshot(loadedAt + 1).ChangedSince(loadedAt); !ok || len(keys) != 1 || keys[0] != gone {
		t.Errorf("since the load: %v, %v; want %v", keys, ok, gone)
	}
}
