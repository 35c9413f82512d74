package state

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestSnapshot_BundlesByDigestAndTime(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	digest := func(i int) string { return fmt.Sprintf("%064d", i) }
	s := NewSnapshot(Head{}, 1)
	want := map[string]*App{}
	check := func(when string, s *Snapshot, want map[string]*App) {
		t.Helper()
		var newest time.Time
		byDigest := map[string][]string{}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			app := want[name]
			byDigest[app.SHA256] = append(byDigest[app.SHA256], name)
			if app.Uploaded.After(newest) {
				newest = app.Uploaded
			}
		}
		for i := range 4 {
			var names []string
			for app := range s.AppsOf(digest(i)) {
				names = append(names, app.Name)
			}
			if !slices.Equal(names, byDigest[digest(i)]) {
				t.Fatalf("%s: the bundles of digest %d are %v, want %v", when, i, names, byDigest[digest(i)])
			}
		}
		if got := s.NewestUpload(); !got.Equal(newest) {
			t.Fatalf("%s: the newest upload was at %v, want %v", when, got, newest)
		}
	}
	check("empty", s, want)
	var earlier *Snapshot
	var then map[string]*App
	for i := range 400 {
		name := fmt.Sprintf("app-%d", random.IntN(8))
		b := s.Build()
		if random.IntN(3) == 0 {
			b.Delete(Key{KindApp, name}, s.Revision()+1)
			delete(want, name)
		} else {
			app := &App{Name: name, SHA256: digest(random.IntN(4)), Uploaded: began.Add(time.Duration(random.IntN(1<<30)) * time.Second)}
			b.Put(app, s.Revision()+1)
			want[name] = app
		}
		s = b.Snapshot(s.Revision() + 1)
		check(fmt.Sprintf("step %d", i), s, want)
		if i == 200 {
			earlier, then = s, maps.Clone(want)
		}
	}
	check("a snapshot of before", earlier, then)
	doc := &Document{}
	for _, name := range slices.Sorted(maps.Keys(then)) {
		doc.objects[KindApp.rank()] = append(doc.objects[KindApp.rank()], then[name])
	}
	check("restored", s.Restored(doc, s.Revision()+1), then)
}

// What an upload looks for costs the same among any number of bundles.
func BenchmarkAppsOf(b *testing.B) {
	for _, apps := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprintf("%d bundles", apps), func(b *testing.B) {
			build := NewSnapshot(Head{}, 0).Build()
			for i := range apps {
				build.Put(&App{Name: fmt.Sprintf("app-%d", i), SHA256: fmt.Sprintf("%064d", i), Uploaded: time.Unix(int64(i), 0)}, 1)
			}
			s := build.Snapshot(1)
			for i := 0; b.Loop(); i++ {
				for app := range s.AppsOf(fmt.Sprintf("%064d", i%apps)) {
					if !s.NewestUpload().After(app.Uploaded.Add(-time.Second)) {
						b.Fatal("no newest upload")
					}
				}
			}
		})
	}
}
