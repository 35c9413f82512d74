package filestore

import (
	"fmt"
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
