package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"statiko/state"
)

// model runs random histories of changes against a store and a plain map, which must agree after every step.
func model(t *testing.T, open func(t testing.TB) Harness) {
	rapid.Check(t, func(rt *rapid.T) {
		h := open(t)
		defer func() {
			if err := h.Store.Close(); err != nil {
				rt.Fatal(err)
			}
		}()
		m := &modelState{objects: map[state.Key]state.Object{}}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			before := h.Store.Snapshot()
			switch action := rapid.IntRange(0, 19).Draw(rt, "action"); {
			case action == 0 && h.Reopen != nil:
				h.Store = h.Reopen()
			case action <= 2:
				restoreModel(rt, t, &h, m)
			default:
				updateModel(rt, &h, m)
			}
			m.check(rt, t, &h)
			if now := h.Store.Snapshot().Revision(); now < before.Revision() {
				rt.Fatalf("revision %d after %d", now, before.Revision())
			}
		}
	})
}

// modelState is the state as a plain map, with the rules of the domain written down once more.
type modelState struct{ objects map[state.Key]state.Object }

func (m *modelState) clone() *modelState {
	c := &modelState{map[state.Key]state.Object{}}
	for k, o := range m.objects {
		c.objects[k] = o
	}
	return c
}

func uses(s *state.Site) []state.Key {
	var keys []state.Key
	if s.TLS.Type == state.TLSImported {
		keys = append(keys, state.ImportedCertificateKey(s.TLS.Certificate))
	}
	if s.App != nil {
		keys = append(keys, state.Key{Kind: state.KindApp, Name: s.App.Name})
	}
	return keys
}

// put returns the sentinel that the store has to refuse the object with, or nil.
func (m *modelState) put(o state.Object) error {
	k := o.Key()
	if s, ok := o.(*state.Site); ok {
		var before []state.Key
		if old, ok := m.objects[k]; ok {
			before = uses(old.(*state.Site))
		}
		for other, object := range m.objects {
			taken, ok := object.(*state.Site)
			if !ok || other == k {
				continue
			}
			for _, name := range s.Names() {
				if slices.Contains(taken.Names(), name) {
					return state.ErrExists
				}
			}
		}
		for _, u := range uses(s) {
			if _, ok := m.objects[u]; !ok && !slices.Contains(before, u) {
				return state.ErrNotFound
			}
		}
	}
	m.objects[k] = o
	return nil
}

func (m *modelState) delete(k state.Key) error {
	if _, ok := m.objects[k]; !ok {
		return state.ErrNotFound
	}
	for _, o := range m.objects {
		if s, ok := o.(*state.Site); ok && slices.Contains(uses(s), k) {
			return state.ErrInUse
		}
	}
	delete(m.objects, k)
	return nil
}

// check compares the store's snapshot with the model: all objects, the index of names, and who uses what.
func (m *modelState) check(rt *rapid.T, t testing.TB, h *Harness) {
	s := h.Store.Snapshot()
	want := map[state.Key]string{}
	for k, o := range m.objects {
		raw, err := o.MarshalJSON()
		if err != nil {
			rt.Fatal(err)
		}
		want[k] = compact(t, raw)
	}
	got := content(t, s, h.kinds())
	for k, w := range want {
		if got[k] != w {
			rt.Fatalf("%s is %s, want %s", k, got[k], w)
		}
	}
	if len(got) != len(want) {
		rt.Fatalf("%d objects, want %d", len(got), len(want))
	}
	for _, name := range modelNames {
		owner := ""
		for _, o := range m.objects {
			if site, ok := o.(*state.Site); ok && slices.Contains(site.Names(), name) {
				owner = site.Domain
			}
		}
		found, ok := s.Site(name)
		if ok != (owner != "") || ok && found.Domain != owner {
			rt.Fatalf("%s leads to %v, want %q", name, found, owner)
		}
	}
	for _, k := range []state.Key{app("app-0").Key(), app("app-1").Key(), certificate("cert-0").Key(), certificate("cert-1").Key()} {
		var want []string
		for _, o := range m.objects {
			if site, ok := o.(*state.Site); ok && slices.Contains(uses(site), k) {
				want = append(want, site.Domain)
			}
		}
		slices.Sort(want)
		if got := slices.Collect(s.Users(k)); !slices.Equal(got, want) {
			rt.Fatalf("users of %s: %v, want %v", k, got, want)
		}
	}
}

// modelNames are few, so that they collide.
var modelNames = []string{"a.test", "b.test", "c.test", "d.test", "e.test", "f.test"}

func drawSite(rt *rapid.T) *state.Site {
	names := rapid.Permutation(modelNames).Draw(rt, "names")[:rapid.IntRange(1, 3).Draw(rt, "count")]
	s := site(names[0], names[1:]...)
	if rapid.Bool().Draw(rt, "uses a bundle") {
		s = using(s, fmt.Sprintf("app-%d", rapid.IntRange(0, 1).Draw(rt, "bundle")), "")
	}
	if rapid.IntRange(0, 3).Draw(rt, "uses a certificate") == 0 {
		s = using(s, "", fmt.Sprintf("cert-%d", rapid.IntRange(0, 1).Draw(rt, "certificate")))
	}
	return s
}

func drawObject(rt *rapid.T, kinds []state.Kind) state.Object {
	n := rapid.IntRange(0, 1).Draw(rt, "which")
	switch kind := rapid.SampledFrom(append(kinds, state.KindSite, state.KindSite, state.KindApp, state.KindSecret)).Draw(rt, "kind"); kind {
	case state.KindSite:
		return drawSite(rt)
	case state.KindApp:
		return sample(kind, fmt.Sprintf("app-%d", n), rapid.IntRange(0, 2).Draw(rt, "content"))
	case state.KindSecret:
		return certificate(fmt.Sprintf("cert-%d", n))
	default:
		return sample(kind, fmt.Sprintf("n%d", n), rapid.IntRange(0, 2).Draw(rt, "content"))
	}
}

// updateModel makes one update of a few puts and deletions on both.
func updateModel(rt *rapid.T, h *Harness, m *modelState) {
	kinds := slices.DeleteFunc(slices.Clone(h.kinds()), func(k state.Kind) bool { return k == state.KindQuarantine })
	next := m.clone()
	var want error
	var steps []func(*state.Draft) error
	for range rapid.IntRange(1, 4).Draw(rt, "writes") {
		o := drawObject(rt, kinds)
		if rapid.IntRange(0, 2).Draw(rt, "delete") == 0 {
			want = next.delete(o.Key())
			steps = append(steps, func(d *state.Draft) error { return d.Delete(o.Key()) })
		} else {
			want = next.put(o)
			steps = append(steps, func(d *state.Draft) error { return d.Put(o) })
		}
		if want != nil {
			break
		}
	}
	_, err := h.Store.Update(context.Background(), func(d *state.Draft) error {
		for _, step := range steps {
			if err := step(d); err != nil {
				return err
			}
		}
		return nil
	})
	if !errors.Is(err, want) || want == nil && err != nil {
		rt.Fatalf("the update returned %v, want %v", err, want)
	}
	if err == nil {
		m.objects = next.objects
	}
}

// restoreModel restores a random document on both.
func restoreModel(rt *rapid.T, t testing.TB, h *Harness, m *modelState) {
	next := &modelState{map[state.Key]state.Object{}}
	var inDocument []state.Kind
	for _, kind := range h.kinds() {
		if kind.InDocument() && kind != state.KindQuarantine {
			inDocument = append(inDocument, kind)
		}
	}
	for range rapid.IntRange(0, 6).Draw(rt, "objects") {
		// What the rules refuse is left out: a document cannot have it.
		_ = next.put(drawObject(rt, inDocument))
	}
	var objects []state.Object
	for _, o := range next.objects {
		objects = append(objects, o)
	}
	for k, o := range m.objects {
		if !k.Kind.InDocument() {
			next.objects[k] = o
		}
	}
	if _, err := h.Store.Restore(context.Background(), document(t, objects...), 0); err != nil {
		rt.Fatalf("restore: %v", err)
	}
	m.objects = next.objects
}
