package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func extractBytes(t testing.TB, data []byte, typ string, limits Limits) (string, Summary, error) {
	t.Helper()
	dest := filepath.Join(t.TempDir(), "dest")
	s, err := Extract(context.Background(), writeArchive(t, data), typ, dest, limits, nil)
	return dest, s, err
}

func wantArchiveError(t testing.TB, err error, entry, reason string) {
	t.Helper()
	var ae *ArchiveError
	if !errors.As(err, &ae) {
		t.Fatalf("got %v; want an ArchiveError", err)
	}
	if ae.Entry != entry || !strings.Contains(ae.Error(), reason) {
		t.Fatalf("got %v (entry %q); want entry %q and %q", err, ae.Entry, entry, reason)
	}
}

func TestExtract_EveryType(t *testing.T) {
	t.Parallel()
	for _, typ := range Types() {
		t.Run(typ, func(t *testing.T) {
			dest, s, err := extractBytes(t, buildSite(t, typ), typ, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			want := contents(siteItems())
			wantTree(t, dest, want)
			var bytes int64
			for _, c := range want {
				bytes += int64(len(c))
			}
			if s.Files != len(want) || s.Bytes != bytes || s.Skipped != 0 {
				t.Errorf("summary %+v; want %d files of %d bytes", s, len(want), bytes)
			}
		})
	}
}

func TestW36_ArchiveWithoutFolderEntries(t *testing.T) {
	t.Parallel()
	items := []item{{name: "a/b/c/d/e.txt", content: "x"}, {name: "a/f.txt", content: "y"}}
	for typ, data := range map[string][]byte{"zip": buildZip(t, items...), "tar": buildTar(t, items...), "rar": buildRar(t, items...)} {
		dest, _, err := extractBytes(t, data, typ, Limits{})
		if err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		wantTree(t, dest, map[string]string{"b/c/d/e.txt": "x", "f.txt": "y"})
	}
}

// Every way to name a place outside, or a name that nobody should have, in every kind of container.
func TestW46_ArchiveCannotLeaveFolder(t *testing.T) {
	t.Parallel()
	names := map[string]string{
		"../evil":                         "leaves",
		"a/../../evil":                    "leaves",
		"a/..":                            "leaves",
		"..":                              "leaves",
		"__MACOSX/../../evil":             "leaves",
		"/etc/evil":                       "absolute",
		"//evil":                          "absolute",
		`..\evil`:                         "backslash",
		`a\evil`:                          "backslash",
		"C:/evil":                         "drive letter",
		"c:evil":                          "drive letter",
		"new\nline":                       "control characters",
		"escape\x1b[31m":                  "control characters",
		"bad\xffutf8":                     "UTF-8",
		strings.Repeat("n", 256):          "255",
		strings.Repeat("dir/", 300) + "f": "1024",
	}
	for name, reason := range names {
		items := []item{{name: "ok.txt", content: "ok"}, {name: name, content: "evil"}}
		for typ, build := range map[string]func(testing.TB, ...item) []byte{"zip": buildZip, "tar": buildTar, "rar": buildRar} {
			if typ == "rar" && (strings.Contains(name, `\`) || name == "bad\xffutf8") {
				continue // its reader turns backslashes into slashes and decodes names itself
			}
			if typ == "tar" && name == "bad\xffutf8" {
				continue // its writer refuses to write such a name
			}
			t.Run(fmt.Sprintf("%s/%.20q", typ, name), func(t *testing.T) {
				outer := t.TempDir()
				dest := filepath.Join(outer, "in", "dest")
				_, err := Extract(context.Background(), writeArchive(t, build(t, items...)), typ, dest, Limits{}, nil)
				wantArchiveError(t, err, name, reason)
				if got := readTree(t, outer); len(got) > 1 || len(got) == 1 && got["in/dest/ok.txt"] == "" {
					t.Errorf("files %v were written", got)
				}
			})
		}
	}
	if _, err := os.Lstat("/etc/evil"); err == nil {
		t.Error("/etc/evil was written")
	}
}

func TestExtract_RarBackslashesStayInside(t *testing.T) {
	t.Parallel()
	outer := t.TempDir()
	dest := filepath.Join(outer, "dest")
	_, err := Extract(context.Background(), writeArchive(t, buildRar(t, item{name: `..\evil`, content: "x"}, item{name: "ok", content: "x"})), "rar", dest, Limits{}, nil)
	if err == nil {
		t.Error("no error")
	}
	for name := range readTree(t, outer) {
		if !strings.HasPrefix(name, "dest/") {
			t.Errorf("%s was written outside", name)
		}
	}
}

func TestExtract_Shape(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		items []item
		want  map[string]string
		entry string
		fault string
	}{
		{"SingleFolderBecomesRoot", []item{{name: "site/"}, {name: "site/a", content: "1"}, {name: "site/b/c", content: "2"}}, map[string]string{"a": "1", "b/c": "2"}, "", ""},
		{"SingleFolderHoldsItsOwnName", []item{{name: "a/a/a", content: "1"}, {name: "a/b", content: "2"}}, map[string]string{"a/a": "1", "b": "2"}, "", ""},
		{"OnlyOnce", []item{{name: "a/b/c", content: "1"}}, map[string]string{"b/c": "1"}, "", ""},
		{"MacOSBesideFolder", []item{{name: "site/a", content: "1"}, {name: "__MACOSX/site/._a", content: "fork"}}, map[string]string{"a": "1"}, "", ""},
		{"DotPrefix", []item{{name: "./"}, {name: "./a", content: "1"}, {name: ".//b", content: "2"}}, map[string]string{"a": "1", "b": "2"}, "", ""},
		{"SingleFileStays", []item{{name: "a", content: "1"}}, map[string]string{"a": "1"}, "", ""},
		{"SamePathTwiceTakesLast", []item{{name: "a", content: "a longer first one"}, {name: "./a", content: "second"}}, map[string]string{"a": "second"}, "", ""},
		{"NoEntries", nil, nil, "", "no files"},
		{"OnlyFolders", []item{{name: "a/"}, {name: "b/c/"}}, nil, "", "no files"},
		{"OnlyMacOS", []item{{name: "__MACOSX/a", content: "x"}}, nil, "", "no files"},
		{"FileWhereFolderIsNeeded", []item{{name: "a", content: "1"}, {name: "a/b", content: "2"}}, nil, "a/b", "where a folder is needed"},
		{"FolderOverFile", []item{{name: "a", content: "1"}, {name: "a/"}}, nil, "a/", "where a folder is needed"},
		{"FileOverFolder", []item{{name: "a/b", content: "1"}, {name: "a", content: "2"}}, nil, "a", "a folder of this name"},
	}
	for _, test := range tests {
		for typ, build := range map[string]func(testing.TB, ...item) []byte{"zip": buildZip, "tar": buildTar} {
			t.Run(test.name+"/"+typ, func(t *testing.T) {
				dest, _, err := extractBytes(t, build(t, test.items...), typ, Limits{})
				if test.fault != "" {
					wantArchiveError(t, err, test.entry, test.fault)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				wantTree(t, dest, test.want)
			})
		}
	}
}

func TestExtract_Cancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, typ := range []string{"zip", "tar.gz", "rar", "tar.xz"} {
		_, err := Extract(ctx, writeArchive(t, buildSite(t, typ)), typ, filepath.Join(t.TempDir(), "d"), Limits{}, nil)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

func TestExtract_RefusesFolderWithContent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Extract(context.Background(), writeArchive(t, buildSite(t, "zip")), "zip", dir, Limits{}, nil); err == nil {
		t.Error("no error")
	}
	wantTree(t, dir, map[string]string{"mine": "x"})
}

func TestW17_TypeOfFileOfAnyLength(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"": "", "a": "", "ab": "", "abc": "", "zip": "", ".zip": "", "a.zip": "zip", "A.ZIP": "zip", "dir/.zip": "",
		"x.tar": "tar", "x.tar.gz": "tar.gz", "x.tgz": "tgz", "x.tar.zst": "tar.zst", "x.gz": "", "x.rar": "rar", "docs-1.2.0": "",
	} {
		got, ok := TypeOfFile(name)
		if got != want || ok != (want != "") {
			t.Errorf("TypeOfFile(%q) = %q, %v; want %q", name, got, ok, want)
		}
	}
}
