package filestore

import (
	"path/filepath"
	"testing"

	"statiko/state"
)

func TestStore_ReopenKeepsWhatWasCommitted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	for i := range 3 {
		s, err := Open(Options{Path: path, KeyID: "k1"})
		if err != nil {
			t.Fatal(err)
		}
		if n := s.Snapshot().Len(state.KindSite); n != i {
			t.Fatalf("%d sites, want %d", n, i)
		}
		_, err = s.Update(t.Context(), func(d *state.Draft) error {
			return d.Put(&state.Site{Domain: string(rune('a'+i)) + ".test"})
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, ok := s.Snapshot().Site("a.test")
		if !ok {
			t.Fatal("a.test is missing")
		}
	}
}
