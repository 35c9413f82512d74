package filestore

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"statiko/state"
	"statiko/state/storetest"
)

func TestMain(m *testing.M) {
	if childMain() {
		return
	}
	goleak.VerifyTestMain(m)
}

// term is a term of leadership that a test ends.
type term struct{ over atomic.Bool }

func (t *term) Over() bool { return t.over.Load() }

// open opens a store that is closed at the end of the test.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore_KeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Harness { return harness(t, time.Millisecond, faults["full"]) })
}

func TestStore_KeepsTheContractWhateverFails(t *testing.T) {
	for name, foldAfter := range map[string]time.Duration{"folding often": time.Millisecond, "folding at the end": time.Hour} {
		for fault, fail := range faults {
			t.Run(name+", "+fault, func(t *testing.T) {
				storetest.RunOutcomes(t, func(t testing.TB) storetest.Harness { return harness(t, foldAfter, fail) })
			})
		}
	}
}

func harness(t testing.TB, foldAfter time.Duration, fail func(op, name string) error) storetest.Harness {
	fsys := &faultFS{}
	o := Options{Path: filepath.Join(t.TempDir(), "state.json"), KeyID: "0123abcd", FoldAfter: foldAfter, FS: fsys, checkEvery: 20 * time.Millisecond}
	now := open(t, o)
	return storetest.Harness{
		Store: now,
		Reopen: func() state.Store {
			if err := now.Close(); err != nil {
				t.Fatal(err)
			}
			now = open(t, o)
			return now
		},
		Break: func() { fsys.set(fail) },
		Heal:  func() { fsys.set(nil) },
		NewTerm: func() (state.Fence, func()) {
			f := &term{}
			return f, func() { f.over.Store(true) }
		},
	}
}
