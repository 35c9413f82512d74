package bundle

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"statiko/filestore"
)

// library returns a Library on real files, whose clock reads now.
func library(t *testing.T, now *time.Time) *Library {
	t.Helper()
	dir := t.TempDir()
	store, err := filestore.Open(filestore.Options{Path: filepath.Join(dir, "state.json")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	repo, err := OpenLocal(filepath.Join(dir, "repo"), nil)
	if err != nil {
		t.Fatal(err)
	}
	stager, err := NewStager(StagerOptions{Dir: filepath.Join(dir, "apps")})
	if err != nil {
		t.Fatal(err)
	}
	return NewLibrary(LibraryOptions{
		Store: store, Repository: repo, Stager: stager, SpoolDir: filepath.Join(dir, "repo"), MaxUpload: 1 << 20,
		ManifestFile: "_statiko.yaml", Now: func() time.Time { return *now },
	})
}

// Requests that began before a deploy may still read the folder of a bundle that was removed since.
func TestLibrary_UnusedFolderStaysForAWhile(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := library(t, &now)
	spool, err := l.Spool(t.Context(), bytes.NewReader(buildSite(t, "zip")))
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Discard()
	if _, err := l.Add(t.Context(), spool, "v1", "zip", "", ""); err != nil {
		t.Fatal(err)
	}
	collect := func(what string, stays bool, inUse map[string]bool) {
		t.Helper()
		if err := l.Collect(inUse); err != nil {
			t.Fatal(err)
		}
		if _, ok := l.Kept(spool.SHA256); ok != stays {
			t.Errorf("%s: kept is %v, want %v", what, ok, stays)
		}
	}
	now = now.Add(time.Hour)
	collect("in the state", true, nil)
	if _, err := l.Remove(t.Context(), "v1"); err != nil {
		t.Fatal(err)
	}
	collect("just removed", true, nil)
	now = now.Add(defaultKeepUnused - time.Second)
	collect("in use again meanwhile", true, map[string]bool{spool.SHA256: true})
	now = now.Add(2 * time.Second)
	collect("unused anew", true, nil)
	now = now.Add(defaultKeepUnused)
	collect("unused for long", false, nil)
}
