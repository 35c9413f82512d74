package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"statiko/state"
)

func TestOpen_MissingOrEmptyBeginsANewState(t *testing.T) {
	t.Parallel()
	for _, empty := range []bool{false, true} {
		path := newPath(t)
		if empty {
			writeText(t, path, "")
		}
		o := quietly(path)
		o.KeyID = "0123abcd"
		s := open(t, o)
		if n := s.Snapshot().Len(state.KindSite); n != 0 || s.Snapshot().Revision() < 1 {
			t.Fatalf("%d sites, revision %d", n, s.Snapshot().Revision())
		}
		want := "{\n  \"sites\": [],\n  \"keyId\": \"0123abcd\",\n  \"revision\": 1\n}\n"
		if got := readText(t, path); got != want {
			t.Fatalf("the file is\n%s", got)
		}
		for _, suffix := range []string{"", ".journal", ".lock"} {
			info, err := os.Stat(path + suffix)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Fatalf("%s: %v, %v", suffix, info.Mode(), err)
			}
		}
	}
}

// Weakness W28 of the earlier program: a missing folder made the start hang, and was created if it could be.
func TestW28_MissingFolderIsNamedAndNotCreated(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "unmounted", "disk")
	_, err := Open(Options{Path: filepath.Join(folder, "state.json")})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), folder) || !strings.Contains(err.Error(), "mkdir") {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(filepath.Dir(folder)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("the folder was created")
	}
	if _, err := Open(Options{}); err == nil {
		t.Fatal("a store without a path was opened")
	}
	if _, err := Open(Options{Path: t.TempDir()}); !errors.Is(err, syscall.EISDIR) {
		t.Fatalf("a folder as a file: %v", err)
	}
}

func TestOpen_UnreadableIsNamedWithItsPlaceAndLeft(t *testing.T) {
	t.Parallel()
	for hazard, c := range map[string]struct{ text, place string }{
		"truncated": {"{\n  \"sites\": [\n    {\"domain\": \"a.te", "line 3, column 21"},
		"typed":     {"{\n  \"sites\": [],,\n}", "line 2, column 15"},
		"an array":  {"[]", "line 1, column 1"},
		"binary":    {"\x00\x00\x00\x00", "line 1, column 1"},
	} {
		path := newPath(t)
		writeText(t, path, c.text)
		for range 2 {
			_, err := Open(quietly(path))
			if !errors.Is(err, state.ErrInvalid) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.place) {
				t.Errorf("%s: got %v", hazard, err)
			}
		}
		if readText(t, path) != c.text {
			t.Errorf("%s: the file was changed", hazard)
		}
		if _, err := os.Stat(path + ".journal"); err == nil {
			t.Errorf("%s: a journal was written", hazard)
		}
		// The lock was given back.
		writeText(t, path, `{"sites":[]}`)
		open(t, quietly(path))
	}
}

func TestOpen_EarlierProgramsFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	text := `{
  "sites": [
    {"domain": "docs.example.org", "aliases": ["www.docs.example.org"], "tls": {"type": "imported", "cert": "wildcard-2020"}, "app": {"name": "docs-41"}},
    {"domain": "Upper.example.org", "aliases": null, "tls": null, "app": null},
    {"domain": "evil.example.org", "aliases": null, "tls": {"type": "selfsigned"}, "app": {"name": "../../../etc"}}
  ],
  "secrets": {"cert/imported/wildcard-2020": "ZGVmZ2hpamtsbW5vGWJOpd0CuPrQew5Tw5h/pXacSiCFHaRdpG36YyVco+jY"},
  "dhparams": {"time": "2020-06-02T03:04:05Z", "pem": "x"}
}`
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	log, logged := observed()
	o := quietly(path)
	o.Log, o.KeyID = log, "0123abcd"
	s := open(t, o)
	wantDomains(t, s, "docs.example.org upper.example.org")
	if site, ok := s.Snapshot().Site("upper.example.org"); !ok || site.TLS.Type != state.TLSSelfSigned {
		t.Fatalf("tls: null was not repaired: %+v", site)
	}
	if s.Snapshot().Len(state.KindQuarantine) != 1 || len(s.Repairs()) != 3 {
		t.Fatalf("%d in quarantine, repairs %q", s.Snapshot().Len(state.KindQuarantine), s.Repairs())
	}
	for _, text := range []string{"others may read", "../../../etc", "upper.example.org"} {
		if !logged(text) {
			t.Errorf("nothing was logged about %q", text)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the mode is %v", info.Mode())
	}
	s.Close()
	again := open(t, o)
	if len(again.Repairs()) != 0 || again.Snapshot().Len(state.KindQuarantine) != 1 {
		t.Fatalf("the second start repairs again: %q", again.Repairs())
	}
}

func TestOpen_AnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	o := quietly(path)
	o.KeyID = "0123abcd"
	s := open(t, o)
	mustPut(t, s, siteOf("a.test"))
	foreign, err := state.ParseDocument([]byte(`{"sites":[],"keyId":"ffffffff"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Restore(context.Background(), foreign, 0); !errors.Is(err, state.ErrForeignKey) {
		t.Fatalf("a document of another key was restored: %v", err)
	}
	wantDomains(t, s, "a.test")
	s.Close()
	before := readText(t, path)
	o.KeyID = "89abcdef"
	_, err = Open(o)
	if !errors.Is(err, state.ErrForeignKey) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"0123abcd", "89abcdef", "secretsEncryptionKey"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %s: %v", part, err)
		}
	}
	if readText(t, path) != before {
		t.Fatal("the file was changed")
	}
	o.KnownKeyIDs = []string{"0123abcd"}
	open(t, o).Close()
	if !strings.Contains(readText(t, path), `"keyId": "89abcdef"`) {
		t.Fatalf("the file is\n%s", readText(t, path))
	}
	o.KeyID, o.KnownKeyIDs = "", nil
	if id := open(t, o).Snapshot().Head().KeyID; id != "89abcdef" {
		t.Fatalf("the key id is %q", id)
	}
}

func TestOpen_SecondProcessIsRefusedByName(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, quietly(path))
	_, err := Open(quietly(path))
	var locked *LockedError
	if !errors.As(err, &locked) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Fatalf("got %v", err)
	}
	link := filepath.Join(t.TempDir(), "link.json")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(quietly(link)); !errors.As(err, &locked) {
		t.Fatalf("by another name: %v", err)
	}
	s.Close()
	s = open(t, quietly(link))
	mustPut(t, s, siteOf("a.test"))
	s.Close()
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Fatal("the symbolic link was replaced")
	}
	wantDomains(t, open(t, quietly(path)), "a.test")
}

func TestOpen_EditWhileStoppedIsTaken(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, quietly(path))
	mustPut(t, s, siteOf("a.test"), &state.Record{Kind: state.KindMember, Name: "m", Data: []byte(`{"x":1}`)})
	s.Close()
	revision := s.Snapshot().Revision()
	for name, edit := range map[string]func(string) string{
		"changed":              func(text string) string { return strings.ReplaceAll(text, "a.test", "b.test") },
		"without its revision": func(string) string { return `{"sites":[{"domain":"b.test"}]}` },
		"an old backup":        func(string) string { return `{"sites":[{"domain":"b.test"}],"revision":1}` },
	} {
		copied := killed(t, path)
		writeText(t, copied, edit(readText(t, copied)))
		s := open(t, quietly(copied))
		wantDomains(t, s, "b.test")
		if now := s.Snapshot().Revision(); now <= revision {
			t.Errorf("%s: another state has revision %d, the first had %d", name, now, revision)
		}
		if _, ok := s.Snapshot().Object(state.Key{Kind: state.KindMember, Name: "m"}); !ok {
			t.Errorf("%s: what is outside of the document is gone", name)
		}
	}
}

func TestOpen_EditAfterAnUncleanStopGetsTheJournal(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, quietly(path))
	mustPut(t, s, siteOf("a.test"), siteOf("b.test"))
	fold(t, s)
	mustPut(t, s, siteOf("c.test", "www.test"), siteOf("a.test", "new.a.test"))
	revision := s.Snapshot().Revision()
	copied := killed(t, path)
	// b is renamed by hand, and takes an alias that the journal gives to c.
	writeText(t, copied, `{"sites":[{"domain":"a.test"},{"domain":"edited.test","aliases":["WWW.test"]},{"domain":"fine.test"}],"revision":2}`)
	log, logged := observed()
	o := quietly(copied)
	o.Log = log
	again := open(t, o)
	wantDomains(t, again, "a.test c.test fine.test")
	if s, ok := again.Snapshot().Site("new.a.test"); !ok || s.Domain != "a.test" {
		t.Fatal("the journal's change of a.test is missing")
	}
	if s, ok := again.Snapshot().Site("www.test"); !ok || s.Domain != "c.test" || again.Snapshot().Len(state.KindQuarantine) != 1 {
		t.Fatalf("of two sites with one name the first serves: %v", s)
	}
	if again.Snapshot().Revision() <= revision || !logged("changed by hand") {
		t.Fatalf("revision %d after %d, or no warning", again.Snapshot().Revision(), revision)
	}
}

func TestOpen_MissingDocumentWithUnfoldedChangesIsAnError(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, quietly(path))
	mustPut(t, s, siteOf("a.test"))
	copied := killed(t, path)
	journal := readText(t, copied+".journal")
	if err := os.Remove(copied); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(quietly(copied)); err == nil || !strings.Contains(err.Error(), "missing or empty") {
		t.Fatalf("got %v", err)
	}
	if readText(t, copied+".journal") != journal {
		t.Fatal("the journal was changed")
	}
	// After a clean stop the document alone was the state, and whoever removes it wants a new one.
	s.Close()
	revision := s.Snapshot().Revision()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	again := open(t, quietly(path))
	wantDomains(t, again, "")
	if again.Snapshot().Revision() <= revision {
		t.Fatalf("revision %d after %d", again.Snapshot().Revision(), revision)
	}
}

func TestOpen_MembersOfANewerVersionAreKept(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	writeText(t, path, `{"sites":[],"quotas":{"a":"<1>"}}`)
	s := open(t, quietly(path))
	mustPut(t, s, siteOf("a.test"))
	s.Close()
	s = open(t, quietly(path))
	doc, _ := state.ParseDocument([]byte(`{"sites":[]}`))
	if _, err := s.Restore(context.Background(), doc, 0); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if text := readText(t, path); !strings.Contains(text, "\"quotas\": {\n    \"a\": \"<1>\"\n  }") {
		t.Fatalf("the file is\n%s", text)
	}
}

func TestOpen_FullDiskIsServedAndRepaired(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, quietly(path))
	mustPut(t, s, siteOf("a.test"))
	copied := killed(t, path)
	before := []string{readText(t, copied), readText(t, copied+".journal")}
	fsys := &faultFS{}
	fsys.set(faults["full"])
	o := quietly(copied)
	o.FS = fsys
	full := open(t, o)
	wantDomains(t, full, "a.test")
	if h := full.Health(); h.Healthy || !strings.Contains(h.Reason, "no space left") {
		t.Fatalf("health is %+v", h)
	}
	if _, err := tryPut(full, siteOf("b.test")); !errors.Is(err, state.ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	if after := []string{readText(t, copied), readText(t, copied+".journal")}; fmt.Sprint(after) != fmt.Sprint(before) {
		t.Fatal("a file was changed")
	}
	fsys.set(nil)
	mustPut(t, full, siteOf("c.test"))
	if h := full.Health(); !h.Healthy {
		t.Fatalf("health is %+v", h)
	}
	full.Close()
	wantDomains(t, open(t, quietly(copied)), "a.test c.test")
	// A new state that cannot be written is an error.
	fsys.set(faults["full"])
	o.Path = newPath(t)
	if _, err := Open(o); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
}

func TestClose_LeavesTheDocumentAloneWhenNothingChanged(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, quietly(path))
	mustPut(t, s, siteOf("a.test"))
	s.Close()
	before, _ := os.Stat(path)
	journal, _ := os.Stat(path + ".journal")
	fsys := &faultFS{}
	o := quietly(path)
	o.FS = fsys
	s = open(t, o)
	s.Close()
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Fatal("the document was written again")
	}
	if after, err := os.Stat(path + ".journal"); err != nil || !os.SameFile(journal, after) {
		t.Fatal("the journal was written again")
	}
	for _, op := range fsys.ops {
		if !strings.HasPrefix(op, "open") {
			t.Errorf("operation %q", op)
		}
	}
	if bytes.Contains([]byte(readText(t, path+".journal")), []byte("a.test")) {
		t.Error("the journal was not folded")
	}
}
