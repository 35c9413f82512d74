package filestore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"statiko/state"
)

// looking are options under which changes by hand are seen soon.
func looking(path string) Options {
	return Options{Path: path, FoldAfter: time.Hour, checkEvery: 5 * time.Millisecond}
}

func rejected(t *testing.T, path string) []string {
	t.Helper()
	names, err := filepath.Glob(path + ".rejected-*")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestEdit_OfTheNewestRevisionIsTaken(t *testing.T) {
	t.Parallel()
	for how, save := range map[string]func(path, text string) error{
		"in place": func(path, text string) error { return os.WriteFile(path, []byte(text), 0o644) },
		"by a rename": func(path, text string) error {
			if err := os.WriteFile(path+"~", []byte(text), 0o644); err != nil {
				return err
			}
			return os.Rename(path+"~", path)
		},
	} {
		path := newPath(t)
		s := open(t, looking(path))
		mustPut(t, s, siteOf("a.test"), &state.Record{Kind: state.KindEvent, Name: "e", Data: []byte("1")})
		fold(t, s)
		revision := s.Snapshot().Revision()
		if err := save(path, strings.Replace(readText(t, path), "a.test", "edited.test", 1)); err != nil {
			t.Fatal(err)
		}
		newer, err := s.Wait(t.Context(), revision)
		if err != nil {
			t.Fatal(err)
		}
		if domains(newer) != "edited.test" || newer.Len(state.KindEvent) != 1 {
			t.Fatalf("%s: the sites are %q", how, domains(newer))
		}
		eventually(t, func() error {
			if text := readText(t, path); !strings.Contains(text, fmt.Sprintf(`"revision": %d`, revision+1)) {
				return fmt.Errorf("%s: the document is\n%s", how, text)
			}
			return nil
		})
		if names := rejected(t, path); len(names) > 0 {
			t.Fatalf("%s: %v", how, names)
		}
		wantDomains(t, open(t, quietly(killed(t, path))), "edited.test")
	}
}

func TestEdit_ThatCannotBeTakenIsKeptAside(t *testing.T) {
	t.Parallel()
	for hazard, edit := range map[string]func(string) string{
		"old revision": func(text string) string { return strings.Replace(text, `"revision": 2`, `"revision": 1`, 1) },
		"no revision":  func(string) string { return `{"sites":[]}` },
		"truncated":    func(text string) string { return text[:len(text)/2] },
		"emptied":      func(string) string { return "" },
		"a faulty site": func(text string) string {
			return strings.Replace(text, "a.test", "_default", 1)
		},
		"no sites":    func(string) string { return `{"revision": 2}` },
		"another key": func(text string) string { return strings.Replace(text, "0123abcd", "ffffffff", 1) },
	} {
		path := newPath(t)
		log, logged := observed()
		o := looking(path)
		o.Log, o.KeyID = log, "0123abcd"
		s := open(t, o)
		mustPut(t, s, siteOf("a.test"))
		fold(t, s)
		written := readText(t, path)
		edited := edit(written)
		writeText(t, path, edited)
		eventually(t, func() error {
			if h := s.Health(); !h.Healthy || !strings.Contains(h.Reason, "rejected-") {
				return fmt.Errorf("%s: health is %+v", hazard, h)
			}
			return nil
		})
		names := rejected(t, path)
		if len(names) != 1 || readText(t, names[0]) != edited || readText(t, path) != written {
			t.Fatalf("%s: kept %v, the document is\n%s", hazard, names, readText(t, path))
		}
		if info, err := os.Stat(names[0]); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%s: %v, %v", hazard, info, err)
		}
		if !logged("not taken") {
			t.Errorf("%s: nothing was logged", hazard)
		}
		mustPut(t, s, siteOf("b.test"))
		wantDomains(t, s, "a.test b.test")
		s.Close()
		wantDomains(t, open(t, o), "a.test b.test")
	}
}

// An edit of a document that lacks what the journal has would undo it.
func TestEdit_WhileTheJournalHasChangesIsKeptAside(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, looking(path))
	mustPut(t, s, siteOf("a.test"))
	fold(t, s)
	mustPut(t, s, siteOf("b.test"))
	writeText(t, path, strings.Replace(readText(t, path), "a.test", "edited.test", 1))
	// Closing looks at once.
	s.Close()
	if len(rejected(t, path)) != 1 {
		t.Fatal("the edit was not kept")
	}
	wantDomains(t, open(t, quietly(path)), "a.test b.test")
}

func TestEdit_RemovedDocumentIsWrittenAgain(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, looking(path))
	mustPut(t, s, siteOf("a.test"))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		data, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(data), "a.test") {
			err = fmt.Errorf("the document is\n%s", data)
		}
		return err
	})
	wantDomains(t, s, "a.test")
}

// Touching the file, or copying the same content over it, is no change.
func TestEdit_SameContentIsNone(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, quietly(path))
	mustPut(t, s, siteOf("a.test"))
	fold(t, s)
	revision := s.Snapshot().Revision()
	writeText(t, path, readText(t, path))
	s.Close()
	again := open(t, quietly(path))
	if now := again.Snapshot().Revision(); now != revision || len(rejected(t, path)) != 0 {
		t.Fatalf("revision %d after %d, kept %v", now, revision, rejected(t, path))
	}
}
