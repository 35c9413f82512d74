package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"statiko/state"
)

// version returns a snapshot that follows s after the changes.
func version(t testing.TB, s *state.Snapshot, change func(*state.Draft) error) *state.Snapshot {
	t.Helper()
	c := &applier{state.NewFeed(s)}
	if _, err := state.RunUpdate(t.Context(), c, change); err != nil {
		t.Fatal(err)
	}
	return c.Snapshot()
}

// applier commits to memory.
type applier struct{ *state.Feed }

func (a *applier) Commit(_ context.Context, t *state.Txn) (int64, error) {
	revision := t.Base.Revision() + 1
	b := t.Base.Build()
	t.Apply(b, revision)
	a.Publish(b.Snapshot(revision))
	return revision, nil
}

func copySite(name string) *state.Site {
	return &state.Site{Domain: name, Aliases: []string{"www." + name}, TLS: &state.SiteTLS{Type: state.TLSSelfSigned}}
}

// firstSnapshot has an object of several kinds, within the document and outside.
func firstSnapshot(t testing.TB) *state.Snapshot {
	s := state.NewSnapshot(state.Head{ID: "id", Epoch: 1, Generation: 3, KeyID: "key"}, 10)
	return version(t, s, func(d *state.Draft) error {
		for _, o := range []state.Object{
			copySite("a.test"), &state.Secret{Name: "s", Sealed: []byte("sealed")}, &state.DHParams{PEM: "pem"},
			&state.Record{Kind: state.KindMember, Name: "node-1", Data: []byte(`{"x":1}`)},
		} {
			if err := d.Put(o); err != nil {
				return err
			}
		}
		return nil
	})
}

func openTestCopy(t testing.TB, dir string) *Copy {
	t.Helper()
	c, err := OpenCopy(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func mustSave(t testing.TB, c *Copy, s *state.Snapshot, note string) {
	t.Helper()
	if err := c.Save(s, []byte(note)); err != nil {
		t.Fatal(err)
	}
}

// sameCopy fails unless what the folder has is the snapshot and the note.
func sameCopy(t testing.TB, c *Copy, want *state.Snapshot, note string) {
	t.Helper()
	got, gotNote, err := c.Load()
	if err != nil || got == nil {
		t.Fatalf("got %v, %v", got, err)
	}
	if d := diff(contentOf(t, got), contentOf(t, want)); len(d) > 0 {
		t.Fatalf("the copy differs: %v", d)
	}
	if string(gotNote) != note || got.Head().KeyID != want.Head().KeyID {
		t.Fatalf("note %s, want %s; key id %s", gotNote, note, got.Head().KeyID)
	}
	for s := range want.Sites() {
		for _, name := range s.Names() {
			if found, ok := got.Site(name); !ok || found.Domain != s.Domain {
				t.Fatalf("%s does not lead to %s", name, s.Domain)
			}
		}
	}
}

func TestCopy_KeepsWhatWasSavedLast(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	c := openTestCopy(t, dir)
	if s, note, err := c.Load(); s != nil || note != nil || err != nil {
		t.Fatalf("an empty folder has %v, %s, %v", s, note, err)
	}
	s := firstSnapshot(t)
	mustSave(t, c, s, `{"n":0}`)
	sameCopy(t, openTestCopy(t, dir), s, `{"n":0}`)
	for i := range 20 {
		s = version(t, s, func(d *state.Draft) error {
			if i%5 == 4 {
				return d.Delete(state.Key{Kind: state.KindSite, Name: fmt.Sprintf("n%d.test", i-1)})
			}
			if i%5 == 2 {
				return d.Put(&state.Record{Kind: state.KindMember, Name: "node-1", Data: fmt.Appendf(nil, `{"x":%d}`, i)})
			}
			return d.Put(copySite(fmt.Sprintf("n%d.test", i)))
		})
		note := fmt.Sprintf(`{"n":%d}`, i+1)
		mustSave(t, c, s, note)
		sameCopy(t, openTestCopy(t, dir), s, note)
		if i == 10 {
			// Another process goes on.
			c.Close()
			c = openTestCopy(t, dir)
		}
	}
	for _, name := range []string{copyName, copyName + ".journal", copyName + previousSuffix} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestCopy_AChangeAmongManyIsOneSmallRecord(t *testing.T) {
	dir := t.TempDir()
	c := openTestCopy(t, dir)
	s := firstSnapshot(t)
	for i := range 100 {
		s = version(t, s, func(d *state.Draft) error {
			for j := range 30 {
				if err := d.Put(copySite(fmt.Sprintf("n%d-%d.test", i, j))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	mustSave(t, c, s, "{}")
	document, err := os.Stat(filepath.Join(dir, copyName))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		s = version(t, s, func(d *state.Draft) error { return d.Put(copySite(fmt.Sprintf("changed%d.test", i))) })
		mustSave(t, c, s, "{}")
	}
	journal, err := os.Stat(filepath.Join(dir, copyName+".journal"))
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(dir, copyName))
	if err != nil || !os.SameFile(document, after) || journal.Size() == 0 || journal.Size() > 10*500 {
		t.Fatalf("10 changes among 3,000 sites: the journal has %d bytes, the document is another: %v", journal.Size(), !os.SameFile(document, after))
	}
	sameCopy(t, openTestCopy(t, dir), s, "{}")
	// A restore, of which it is not known what changed, is written as a whole.
	doc, err := state.ParseDocument([]byte(`{"sites":[{"domain":"restored.test"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s = s.Restored(doc, s.Revision()+1)
	mustSave(t, c, s, "{}")
	sameCopy(t, openTestCopy(t, dir), s, "{}")
}

func TestCopy_IsFoldedWhenLargeAndWhenQuiet(t *testing.T) {
	dir := t.TempDir()
	c := openTestCopy(t, dir)
	c.foldBytes, c.quiet = 4000, 50*time.Millisecond
	s := firstSnapshot(t)
	mustSave(t, c, s, "{}")
	for i := range 100 {
		s = version(t, s, func(d *state.Draft) error { return d.Put(copySite(fmt.Sprintf("n%d.test", i%7))) })
		s = version(t, s, func(d *state.Draft) error { return d.Delete(copySite(fmt.Sprintf("n%d.test", i%7)).Key()) })
		mustSave(t, c, s, "{}")
		if info, err := os.Stat(filepath.Join(dir, copyName+".journal")); err != nil || info.Size() > 10000 {
			t.Fatalf("the journal: %v, %v", info.Size(), err)
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		info, err := os.Stat(filepath.Join(dir, copyName+".journal"))
		if err == nil && info.Size() == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not folded: %v, %v", info, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	sameCopy(t, openTestCopy(t, dir), s, "{}")
}

func TestCopy_DamageFallsBackToThePreviousOne(t *testing.T) {
	for hazard, damage := range map[string]func(data []byte) []byte{
		"truncated":   func(data []byte) []byte { return data[:len(data)/2] },
		"empty":       func([]byte) []byte { return nil },
		"a bit":       func(data []byte) []byte { data[len(data)/2] ^= 1; return data },
		"of the sum":  func(data []byte) []byte { data[len(data)-5] ^= 1; return data },
		"appended to": func(data []byte) []byte { return append(data, "{}\n"...) },
	} {
		t.Run(hazard, func(t *testing.T) {
			dir := t.TempDir()
			c := openTestCopy(t, dir)
			old := firstSnapshot(t)
			mustSave(t, c, old, `{"n":1}`)
			old = version(t, old, func(d *state.Draft) error { return d.Put(copySite("journal.test")) })
			mustSave(t, c, old, `{"n":2}`)
			c.Close()
			c = openTestCopy(t, dir)
			mustSave(t, c, firstSnapshot(t), `{"n":3}`)
			c.Close()
			path := filepath.Join(dir, copyName)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(data), 0o600); err != nil {
				t.Fatal(err)
			}
			c = openTestCopy(t, dir)
			sameCopy(t, c, old, `{"n":2}`)
			// The damaged one does not take the good one's place.
			next := version(t, old, func(d *state.Draft) error { return d.Put(copySite("next.test")) })
			mustSave(t, c, next, `{"n":4}`)
			sameCopy(t, openTestCopy(t, dir), next, `{"n":4}`)
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			sameCopy(t, openTestCopy(t, dir), old, `{"n":2}`)
			if err := os.WriteFile(path+previousSuffix, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if s, _, err := openTestCopy(t, dir).Load(); s != nil || err == nil {
				t.Fatalf("two damaged copies are %v, %v", s, err)
			}
		})
	}
}

// The power goes before every single operation on the disk: what was saved is there, as a whole, or what was being saved.
func TestCopy_ACrashAtAnyMomentLeavesWhatWasSaved(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for crashAt := 1; ; crashAt++ {
		fsys := newMemFS()
		fsys.crashAt = crashAt
		c, err := openCopy(t.TempDir(), nil, fsys)
		if err != nil {
			t.Fatal(err)
		}
		c.disk.path, c.disk.folder = memFolder+"/"+copyName, memFolder
		c.foldBytes = 600
		s := firstSnapshot(t)
		var acked, perhaps *state.Snapshot
		for i := range 12 {
			perhaps = s
			if err = c.Save(s, []byte("{}")); err != nil {
				break
			}
			acked = s
			s = version(t, s, func(d *state.Draft) error { return d.Put(copySite(fmt.Sprintf("n%d.test", i))) })
		}
		c.Close()
		after := &Copy{disk: &disk{fs: fsys.reboot(random.IntN(3), random), log: c.log, path: c.disk.path, folder: memFolder}, log: c.log}
		got, _, loadErr := after.Load()
		switch {
		case got == nil && acked != nil:
			t.Fatalf("crash at %d: nothing is left: %v", crashAt, loadErr)
		case got != nil:
			now := contentOf(t, got)
			if len(diff(now, contentOf(t, perhaps))) != 0 && (acked == nil || len(diff(now, contentOf(t, acked))) != 0) {
				t.Fatalf("crash at %d: the copy is neither what was saved nor what was being saved", crashAt)
			}
		}
		if err == nil {
			if crashAt < 40 {
				t.Fatalf("only %d operations", crashAt)
			}
			return
		}
	}
}

func TestCopy_AFullDiskIsAnErrorAndLeavesTheOld(t *testing.T) {
	dir, full := t.TempDir(), errors.New("full")
	fsys := &faultFS{}
	c, err := openCopy(dir, nil, fsys)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := firstSnapshot(t)
	mustSave(t, c, s, "{}")
	for _, fail := range []string{"write", "sync", "rename", "open"} {
		fsys.set(func(op, _ string) error {
			if op == fail {
				return full
			}
			return nil
		})
		next := version(t, s, func(d *state.Draft) error { return d.Put(copySite(fail + ".test")) })
		err := c.Save(next, []byte("{}"))
		fsys.set(nil)
		if err == nil {
			s = next // It got by without.
			continue
		}
		sameCopy(t, openTestCopy(t, dir), s, "{}")
		mustSave(t, c, next, "{}")
		sameCopy(t, openTestCopy(t, dir), next, "{}")
		s = next
	}
	data, err := os.ReadFile(filepath.Join(dir, copyName))
	if err != nil || bytes.Contains(data, []byte("sealed\"")) {
		t.Fatalf("a secret is not as it was given: %v", err)
	}
}
