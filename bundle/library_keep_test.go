package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"statiko/state"
)

// eventually waits for a condition and tells its last reason.
func eventually(t *testing.T, what func() error) {
	t.Helper()
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-pause.C {
		err := what()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// run runs a node's keeper until the test, or what is returned, ends it.
func (n *nodes) run(node string) (stop func()) {
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.all[node].Run(ctx) // it returns nil
	}()
	stop = func() { cancel(); <-done }
	n.t.Cleanup(stop)
	return stop
}

func TestRun_KeepsEveryNodeInStepWithTheState(t *testing.T) {
	t.Parallel()
	n := newNodes(t, func(_ string, o *LibraryOptions) { o.AuditEvery = 20 * time.Millisecond }, "a", "b", "c")
	archive, other := n.site("x"), n.site("other")
	n.mustAdd("a", "app", archive)
	n.mustAdd("a", "gone", other)
	// c has a file of this name that nobody knows of.
	strange, err := NewSpool(t.Context(), t.TempDir(), bytes.NewReader(other), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer strange.Discard()
	if err := n.all["c"].own().Create(t.Context(), "app", strange, Meta{Type: "zip"}); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"b", "c"} {
		n.run(node)
	}
	same := func(node, name string, want []byte) func() error {
		return func() error {
			if got := n.archive(node, name); !bytes.Equal(got, want) {
				return fmt.Errorf("%s has %d bytes of %s, want %d; it notes %v", node, len(got), name, len(want), n.all[node].Notes())
			}
			return nil
		}
	}
	eventually(t, same("c", "app", archive))
	n.noted("c", "app: the archive in this node's folder was not what the state says; it is at ")
	aside, err := filepath.Glob(filepath.Join(filepath.Dir(n.path("c", "app")), asidePrefix+"app.*[0-9]"))
	if err != nil || len(aside) != 1 {
		t.Fatalf("%v, %v", aside, err)
	}
	if data, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(data, other) {
		t.Errorf("what was put aside has %d bytes, %v", len(data), err)
	}

	// A folder that is wiped is filled again.
	for _, name := range []string{"app", "gone"} {
		eventually(t, same("b", name, map[string][]byte{"app": archive, "gone": other}[name]))
		if err := os.Remove(n.path("b", name)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, same("b", "app", archive))
	eventually(t, same("c", "gone", other))

	// What one node removes is removed from all.
	if _, err := n.all["a"].Remove(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"a", "b", "c"} {
		eventually(t, same(node, "gone", nil))
	}
}

// What a restore takes away can come back by another one.
func TestRun_ARestoreLeavesArchivesForADay(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	n := newNodes(t, func(_ string, o *LibraryOptions) { o.AuditEvery, o.Now = 20*time.Millisecond, clock }, "a")
	archive := n.site("x")
	n.mustAdd("a", "app", archive)
	var before bytes.Buffer
	if err := n.store.Snapshot().WriteDocument(&before, state.DocumentOptions{}); err != nil {
		t.Fatal(err)
	}
	restore := func(text []byte) {
		t.Helper()
		doc, err := state.ParseDocument(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.store.Restore(t.Context(), doc, 0); err != nil {
			t.Fatal(err)
		}
	}
	stop := n.run("a")
	restore([]byte(`{"sites":[],"apps":[]}`))
	mu.Lock()
	now = now.Add(orphanAge - time.Hour)
	mu.Unlock()
	stop() // and a restart counts anew
	stop = n.run("a")
	n.has("a", "app", archive)
	if _, ok := n.store.Snapshot().App("app"); ok {
		t.Fatal("a bundle that was in the state is taken up again")
	}
	restore(before.Bytes())
	app, _ := n.store.Snapshot().App("app")
	if _, err := n.all["a"].Ensure(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	restore([]byte(`{"sites":[],"apps":[]}`))
	eventually(t, func() error { // once it was seen to be left over, its day begins
		mu.Lock()
		now = now.Add(orphanAge)
		mu.Unlock()
		if n.archive("a", "app") != nil {
			return errors.New("the archive is still there")
		}
		return nil
	})
	stop()
}
