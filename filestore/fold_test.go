package filestore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Each fold writes the whole document: if it came after so many bytes of the journal, whatever the document's length, what a
// change costs would grow with the number of sites.
func TestFold_RareWhereTheDocumentIsLong(t *testing.T) {
	t.Parallel()
	fsys, path := &faultFS{}, newPath(t)
	var folds atomic.Int64
	fsys.set(func(op, name string) error {
		if op == "rename" && filepath.Base(name) == filepath.Base(path) {
			folds.Add(1)
		}
		return nil
	})
	s := open(t, Options{Path: path, FoldAfter: time.Hour, FoldBytes: 1000, FS: fsys, checkEvery: time.Hour})
	before := folds.Load()
	for i := range 1000 {
		mustPut(t, s, siteOf(fmt.Sprintf("%s%d.test", strings.Repeat("n", 40), i)))
	}
	fold(t, s)
	if n := folds.Load() - before; n < 3 || n > 50 {
		t.Errorf("the document was written %d times", n)
	}
}

func TestFold_WaitsInProportionToTheDocument(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Path: newPath(t), FoldAfter: time.Hour, FoldBytes: 1000, checkEvery: time.Hour})
	fold(t, s)
	if got := s.foldAfter(); got != time.Hour {
		t.Errorf("%s without a site", got)
	}
	for i := range 40 {
		mustPut(t, s, siteOf(fmt.Sprintf("n%d.test", i)))
	}
	fold(t, s) // and nobody writes any more
	if want := time.Hour * time.Duration(1+s.disk.documentBytes()/1000); s.foldAfter() != want || want < 3*time.Hour {
		t.Errorf("%s, want %s for %d bytes", s.foldAfter(), want, s.disk.documentBytes())
	}
}

// Changes that go on, each before the journal has been quiet for long enough, must not keep the document as it was.
func TestFold_TheDocumentFollowsChangesThatGoOn(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, Options{Path: path, FoldAfter: time.Hour, checkEvery: time.Hour, maxLag: 100 * time.Millisecond})
	for _, first := range []string{"a.test", "b.test"} {
		mustPut(t, s, siteOf(first))
		i := 0
		eventually(t, func() error {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if strings.Contains(string(data), `"`+first+`"`) {
				return nil
			}
			i++
			mustPut(t, s, siteOf(fmt.Sprintf("%d.then-%s", i, first)))
			return errors.New("the document lacks " + first)
		})
	}
}

// A single change is folded by then too, although nothing else happens.
func TestFold_TheDocumentHasTheLastChange(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, Options{Path: path, FoldAfter: time.Hour, checkEvery: 10 * time.Millisecond, maxLag: 50 * time.Millisecond})
	mustPut(t, s, siteOf("a.test"))
	eventually(t, func() error {
		if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), "a.test") {
			return fmt.Errorf("the document is %q (%v)", data, err)
		}
		return nil
	})
}
