package filestore

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"statiko/state"
)

// Weakness W3 of the earlier program: of 200 sites that were acknowledged, the file had 198.
func TestW3_ParallelChangesAreAllOnDisk(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, Options{Path: path, FoldAfter: 1, FoldBytes: 2000})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if _, err := tryPut(s, siteOf(fmt.Sprintf("n%d.test", i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// The fold ends first, so that the copy of two files is one state.
	fold(t, s)
	for _, path := range []string{killed(t, path), path} {
		s.Close()
		if n := open(t, quietly(path)).Snapshot().Len(state.KindSite); n != 200 {
			t.Fatalf("%d sites of 200", n)
		}
	}
}

// The same without any fold: what was acknowledged is in the files at that moment.
func TestW3_AcknowledgedIsOnDisk(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, quietly(path))
	want := ""
	for i := range 10 {
		mustPut(t, s, siteOf(fmt.Sprintf("n%d.test", i)))
		want = strings.TrimSpace(want + fmt.Sprintf(" n%d.test", i))
		if i == 5 {
			doc, err := state.ParseDocument([]byte(`{"sites":[{"domain":"a.test"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Restore(context.Background(), doc, 0); err != nil {
				t.Fatal(err)
			}
			want = "a.test"
		}
		copied := open(t, quietly(killed(t, path)))
		wantDomains(t, copied, want)
		if a, b := copied.Snapshot().Revision(), s.Snapshot().Revision(); a != b {
			t.Fatalf("revision %d, then %d", b, a)
		}
		copied.Close()
	}
}
