package bundle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"statiko/state"
)

// objectStoreOf is an object store that several nodes share, in a folder, and that can be away.
type objectStoreOf struct {
	*Local
	away atomic.Bool
}

var errAway = errors.New("503 Service Unavailable")

func (o *objectStoreOf) Create(ctx context.Context, name string, upload *Spool, meta Meta) error {
	if o.away.Load() {
		return errAway
	}
	return o.Local.Create(ctx, name, upload, meta)
}

func (o *objectStoreOf) Stat(ctx context.Context, name string) (Entry, error) {
	if o.away.Load() {
		return Entry{}, errAway
	}
	return o.Local.Stat(ctx, name)
}

func (o *objectStoreOf) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, Meta, error) {
	if o.away.Load() {
		return nil, Meta{}, errAway
	}
	return o.Local.Open(ctx, name, offset)
}

// sharing makes nodes with a common object store, and caches of their own.
func sharing(t *testing.T, names ...string) (*nodes, *objectStoreOf) {
	t.Helper()
	shared, err := OpenLocal(filepath.Join(t.TempDir(), "bucket"), nil)
	if err != nil {
		t.Fatal(err)
	}
	store := &objectStoreOf{Local: shared}
	return newNodes(t, func(_ string, o *LibraryOptions) { o.Repository, o.Cache = store, o.Repository }, names...), store
}

func TestShared_ObjectStoreAway(t *testing.T) {
	t.Parallel()
	n, bucket := sharing(t, "a", "b")
	archive := n.site("x")
	added, err := n.add("a", "app", archive)
	if err != nil || added.Replicas != (Replicas{}) {
		t.Fatalf("%+v, %v: the object store keeps it", added, err)
	}
	app, _ := n.store.Snapshot().App("app")
	bucket.away.Store(true)
	// Another node takes it from the one that has it.
	if _, err := n.all["b"].Ensure(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	n.has("b", "app", archive)
	if _, err := n.add("a", "later", n.site("y")); !errors.Is(err, errAway) {
		t.Errorf("an upload: %v", err)
	}
	if _, ok := n.store.Snapshot().App("later"); ok || n.archive("a", "later") != nil {
		t.Error("something of the failed upload is left")
	}
	bucket.away.Store(false)
	n.mustAdd("a", "later", n.site("y"))
}

func TestShared_AFlippedByteInTheObjectStoreIsHealed(t *testing.T) {
	t.Parallel()
	n, bucket := sharing(t, "a", "b")
	archive := n.site("x")
	app := n.mustAdd("a", "app", archive)
	path, err := bucket.Path("app")
	if err != nil {
		t.Fatal(err)
	}
	// The cache may have been the same file until here.
	if err := bucket.Remove(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	spool, err := n.all["a"].Spool(t.Context(), bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Discard()
	if err := bucket.Create(t.Context(), "app", spool, metaOf(app)); err != nil {
		t.Fatal(err)
	}
	flip(t, path, 777)
	n.down["a"] = true
	if _, err := n.all["b"].Ensure(t.Context(), app); !errors.Is(err, ErrHashMismatch) {
		t.Errorf("with nobody else: %v", err)
	}
	n.has("b", "app", nil)
	n.noted("b", "app: what came from the repository is not the bundle")
	n.down["a"] = false
	if _, err := n.all["b"].Ensure(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	n.has("b", "app", archive)
	if sum, err := digestOf(t.Context(), bucket, "app"); err != nil || sum != app.SHA256 {
		t.Errorf("the object store has %s, %v", sum, err)
	}
	n.noted("b", "app: its archive in the repository was missing or damaged, and was replaced")
}

// Of two nodes that upload different bytes under one name at once, one wins, and its archive stays.
func TestShared_UploadsOfOneNameAtOnce(t *testing.T) {
	t.Parallel()
	n, bucket := sharing(t, "a", "b")
	first, second := n.site("first"), n.site("second page")
	early, err := n.all["b"].Spool(t.Context(), bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	defer early.Discard()
	// The upload on b has come as far as the object store.
	under := &state.App{Name: "app", Type: "zip", Size: early.Size, SHA256: early.SHA256}
	if err := bucket.Create(t.Context(), "app", early, metaOf(under)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.add("a", "app", second); !errors.Is(err, state.ErrConflict) {
		t.Errorf("other bytes: %v", err)
	}
	if sum, err := digestOf(t.Context(), bucket, "app"); err != nil || sum != early.SHA256 {
		t.Errorf("the object store has %s, %v", sum, err)
	}
	// The same bytes, after a crash, are no conflict; nor are others an hour later.
	if _, err := n.add("a", "app", first); err != nil {
		t.Errorf("the same bytes: %v", err)
	}
	if err := bucket.Create(t.Context(), "left", early, metaOf(under)); err != nil {
		t.Fatal(err)
	}
	n.all["a"].Now = func() time.Time { return time.Now().Add(2 * foreignAge) }
	if _, err := n.add("a", "left", second); err != nil {
		t.Errorf("other bytes, an hour later: %v", err)
	}
}
