package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
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
			if typ == "rar" && strings.ContainsAny(name, "\\\xff") {
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

func TestExtract_Links(t *testing.T) {
	t.Parallel()
	base := []item{{name: "index.html", content: "home"}, {name: "dir/page.html", content: "page"}}
	files := contents(base)
	tests := []struct {
		name    string
		items   []item
		fault   string            // error on the last item
		more    map[string]string // files besides base
		skipped int
	}{
		{"ToFile", []item{{name: "default.html", link: "index.html"}}, "", map[string]string{"default.html": "home"}, 0},
		{"UpAndDown", []item{{name: "dir/up.html", link: "../dir/../index.html"}}, "", map[string]string{"dir/up.html": "home"}, 0},
		{"TargetComesLater", []item{{name: "a", link: "b"}, {name: "b", content: "later"}}, "", map[string]string{"a": "later", "b": "later"}, 0},
		{"Chain", []item{{name: "a", link: "b"}, {name: "b", link: "dir/c"}, {name: "dir/c", link: "page.html"}}, "",
			map[string]string{"a": "page", "b": "page", "dir/c": "page"}, 0},
		{"ThroughLinkedFolder", []item{{name: "d", link: "dir"}, {name: "a", link: "d/page.html"}}, "", map[string]string{"a": "page"}, 1},
		{"ToFolder", []item{{name: "d", link: "dir"}}, "", nil, 1},
		{"ToRoot", []item{{name: "dir/d", link: ".."}}, "", nil, 1},
		{"ToNothing", []item{{name: "d", link: "nowhere/at/all"}}, "", nil, 1},
		{"ReplacesFile", []item{{name: "x", content: "old"}, {name: "x", link: "index.html"}}, "", map[string]string{"x": "home"}, 0},
		{"ReplacedByFile", []item{{name: "x", link: "index.html"}, {name: "x", content: "new"}}, "", map[string]string{"x": "new"}, 0},
		{"Absolute", []item{{name: "x", link: "/etc/passwd"}}, "leaves the bundle", nil, 0},
		{"DotDot", []item{{name: "x", link: "../secret"}}, "leaves the bundle", nil, 0},
		{"DotDotDeep", []item{{name: "dir/x", link: "../../secret"}}, "leaves the bundle", nil, 0},
		{"DotDotAfterMissing", []item{{name: "x", link: "no/../../secret"}}, "leaves the bundle", nil, 0},
		{"OutThroughLink", []item{{name: "dir/up", link: ".."}, {name: "x", link: "dir/up/../secret"}}, "leaves the bundle", nil, 0},
		{"Itself", []item{{name: "x", link: "x"}}, "circle", nil, 0},
		{"WriteThroughLink", []item{{name: "x", link: "dir"}, {name: "x/evil", content: "evil"}}, "where a folder is needed", nil, 0},
		{"LongTarget", []item{{name: "x", link: strings.Repeat("t", 2000)}}, "1024", nil, 0},
	}
	for _, test := range tests {
		for typ, build := range map[string]func(testing.TB, ...item) []byte{"zip": buildZip, "tar": buildTar, "rar": buildRar} {
			t.Run(test.name+"/"+typ, func(t *testing.T) {
				dest, s, err := extractBytes(t, build(t, append(base, test.items...)...), typ, Limits{})
				if test.fault != "" {
					wantArchiveError(t, err, test.items[len(test.items)-1].name, test.fault)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				want := map[string]string{}
				for k, v := range files {
					want[k] = v
				}
				for k, v := range test.more {
					want[k] = v
				}
				wantTree(t, dest, want)
				if s.Skipped != test.skipped || len(s.Warnings) != test.skipped || s.Files != len(want) {
					t.Errorf("summary %+v; want %d skipped of %d files", s, test.skipped, len(want))
				}
			})
		}
	}
}

func TestExtract_HardLinksAndDevices(t *testing.T) {
	t.Parallel()
	dest, s, err := extractBytes(t, buildTar(t,
		item{name: "dir/a", content: "a"}, item{name: "dir/b", hard: "dir/a"}, item{name: "null", device: true}, item{name: "x", content: "x"},
	), "tar", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	wantTree(t, dest, map[string]string{"dir/a": "a", "dir/b": "a", "x": "x"})
	if s.Skipped != 1 || !strings.Contains(s.Warnings[0], "null") {
		t.Errorf("summary %+v", s)
	}
	_, _, err = extractBytes(t, buildTar(t, item{name: "a", content: "a"}, item{name: "b", hard: "../../etc/passwd"}), "tar", Limits{})
	wantArchiveError(t, err, "b", "leaves the bundle")
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

func TestW51_ModesInArchivesAreIgnored(t *testing.T) {
	t.Parallel()
	for _, mode := range []os.FileMode{0o4777, 0o000, 0o600} {
		dest, _, err := extractBytes(t, buildTar(t, item{name: "a", content: "x", mode: mode}, item{name: "b", content: "x", mode: 0o777}), "tar", Limits{})
		if err != nil {
			t.Fatal(err)
		}
		wantTree(t, dest, map[string]string{"a": "x", "b": "x"})
	}
}

func TestW51_LimitsHold(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 10_000)
	many := make([]item, 100)
	for i := range many {
		many[i] = item{name: fmt.Sprintf("f%d", i), content: "x"}
	}
	bomb := make([]byte, 70<<20)
	links := []item{{name: "a", content: big}}
	for i := range 50 {
		links = append(links, item{name: fmt.Sprintf("l%d", i), link: "a"})
	}
	tests := []struct {
		name   string
		typ    string
		data   []byte
		limits Limits
	}{
		{"Bytes", "zip", buildZip(t, item{name: "a", content: big}, item{name: "b", content: big}), Limits{MaxBytes: 15_000}},
		{"BytesOfOverwrittenFiles", "tar", buildTar(t, item{name: "a", content: big}, item{name: "a", content: big}), Limits{MaxBytes: 15_000}},
		{"BytesOfLinks", "tar", buildTar(t, links...), Limits{MaxBytes: 100_000}},
		{"Files", "tar", buildTar(t, many...), Limits{MaxFiles: 50}},
		{"FoldersOfOneEntry", "zip", buildZip(t, item{name: strings.Repeat("d/", 60) + "f", content: "x"}), Limits{MaxFiles: 50}},
		{"RatioZip", "zip", buildZip(t, item{name: "a", content: string(bomb)}), Limits{}},
		{"RatioTarGz", "tar.gz", pack(t, "tar.gz", buildTar(t, item{name: "a", content: string(bomb)})), Limits{}},
		{"RatioTarZst", "tar.zst", pack(t, "tar.zst", buildTar(t, item{name: "a", content: string(bomb)})), Limits{}},
		{"RatioHiddenInSkippedEntry", "tar.gz", pack(t, "tar.gz", buildTar(t, item{name: "__MACOSX/a", content: string(bomb)}, item{name: "b", content: "x"})), Limits{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dest, _, err := extractBytes(t, test.data, test.typ, test.limits)
			if !errors.Is(err, ErrTooLarge) {
				t.Fatalf("got %v; want ErrTooLarge", err)
			}
			var size int64
			for _, c := range readTree(t, dest) {
				size += int64(len(c))
			}
			if size > 70_000_000 || test.limits.MaxBytes > 0 && size > test.limits.MaxBytes {
				t.Errorf("%d bytes were written", size)
			}
		})
	}
	// A small site may compress as well as it likes.
	if _, _, err := extractBytes(t, buildZip(t, item{name: "a", content: string(bomb[:20<<20])}), "zip", Limits{}); err != nil {
		t.Errorf("below the floor: %v", err)
	}
}

func TestW35_DamagedArchivesAreErrors(t *testing.T) {
	t.Parallel()
	for _, typ := range Types()[:9] {
		t.Run(typ, func(t *testing.T) {
			whole := buildSite(t, typ)
			for _, keep := range []int{0, 1, 7, len(whole) / 4, len(whole) / 2, len(whole) * 3 / 4, len(whole) - 9, len(whole) - 1} {
				if typ == "tar" && keep > len(whole)-512 {
					continue // the second block of the end may be missing
				}
				if typ == "rar" && keep >= len(whole)-9 {
					continue // the end header says nothing
				}
				dest, _, err := extractBytes(t, whole[:keep], typ, Limits{})
				if err == nil {
					t.Errorf("cut after %d of %d bytes: no error; unpacked %v", keep, len(whole), readTree(t, dest))
					continue
				}
				wantArchiveError(t, err, errEntry(err), "")
			}
			if typ == "tar" {
				return // has no checksum of contents
			}
			damaged := bytes.Clone(whole)
			at := len(damaged) / 2
			if typ == "rar" {
				at = bytes.Index(damaged, []byte("color"))
			}
			if typ == "zip" {
				at = 30 + len("index.html") + 8
			}
			damaged[at] ^= 0x55
			if dest, _, err := extractBytes(t, damaged, typ, Limits{}); err == nil {
				t.Errorf("byte %d changed: no error; unpacked %v", at, readTree(t, dest))
			}
		})
	}
}

func errEntry(err error) string {
	var ae *ArchiveError
	if errors.As(err, &ae) {
		return ae.Entry
	}
	return ""
}

func TestExtract_WrongTypeSaysWhatItLooksLike(t *testing.T) {
	t.Parallel()
	for _, declared := range []string{"zip", "tar", "tgz", "rar"} {
		for _, is := range Types()[:9] {
			if longType(declared) == is {
				continue
			}
			_, _, err := extractBytes(t, buildSite(t, is), declared, Limits{})
			wantArchiveError(t, err, "", fmt.Sprintf("declared as %s but looks like %s", longType(declared), is))
		}
	}
	_, _, err := extractBytes(t, []byte("just text, no archive at all"), "zip", Limits{})
	wantArchiveError(t, err, "", "not zip")
	_, _, err = extractBytes(t, []byte("x"), "exe", Limits{})
	wantArchiveError(t, err, "", `"exe" is not a type of archive; known ones are zip,`)
	_, _, err = extractBytes(t, pack(t, "tar.gz", []byte(strings.Repeat("no tar inside ", 100))), "tar.gz", Limits{})
	wantArchiveError(t, err, "", "not tar.gz")
}

func TestExtract_EncryptedZipSaysSo(t *testing.T) {
	t.Parallel()
	data := buildZip(t, item{name: "a", content: "x"})
	at := bytes.Index(data, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint16(data[at+8:], binary.LittleEndian.Uint16(data[at+8:])|1)
	if r, err := zip.NewReader(bytes.NewReader(data), int64(len(data))); err != nil || r.File[0].Flags&1 == 0 {
		t.Fatalf("the archive is not what it should be: %v", err)
	}
	_, _, err := extractBytes(t, data, "zip", Limits{})
	wantArchiveError(t, err, "a", "encrypted")
}

func TestExtract_HugeXZDictionaryIsRefused(t *testing.T) {
	t.Parallel()
	data := buildSite(t, "tar.xz")
	at := bytes.Index(data[12:], []byte{0x21, 1}) + 12 + 2
	data[at] = 40 // 4 GiB
	_, _, err := extractBytes(t, data, "tar.xz", Limits{})
	wantArchiveError(t, err, "", "dictionary has")
}

func TestExtract_XZOfManyBlocksAndStreams(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("some text that is repeated; ", 20_000)
	archive := buildTar(t, item{name: "a", content: content}, item{name: "b", content: "b"})
	var b bytes.Buffer
	for _, part := range [][]byte{archive[:len(archive)/2], archive[len(archive)/2:]} {
		w, err := xz.WriterConfig{BlockSize: 50_000, CheckSum: xz.SHA256}.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		b.Write(make([]byte, 8)) // padding
	}
	dest, _, err := extractBytes(t, b.Bytes(), "txz", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	wantTree(t, dest, map[string]string{"a": content, "b": "b"})
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

// Whatever an archive calls its entries, nothing is written outside and nothing but files and folders inside.
func FuzzExtractNames(f *testing.F) {
	for _, seed := range [][3]string{
		{"index.html", "a/b", "index.html"}, {"../x", "..", "/etc"}, {"a/../../b", "x", "../../x"}, {"a", "a/b", "a"},
		{`..\x`, "C:", `..\..\x`}, {"./././a//b", "b", "./a/../a//b"}, {"a\x00b", "l", "\x00"}, {"__MACOSX/..", "l", "l"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, file, link, target string) {
		if len(file)+len(link)+len(target) > 60_000 {
			return
		}
		data := buildRawZip(t, item{name: file, content: "content"}, item{name: link, link: target})
		outer := t.TempDir()
		dest := filepath.Join(outer, "dest")
		_, err := Extract(context.Background(), writeArchive(t, data), "zip", dest, Limits{MaxFiles: 1000}, nil)
		for name := range readTree(t, outer) { // fails on links
			if !strings.HasPrefix(name, "dest/") {
				t.Fatalf("%q was written outside", name)
			}
		}
		clean, fault := cleanEntryName(file)
		if fault == "" && (strings.HasPrefix(clean, "/") || strings.Contains("/"+clean+"/", "/../")) {
			t.Fatalf("%q was cleaned to %q", file, clean)
		}
		if fault != "" && err == nil {
			t.Fatalf("%q was extracted though %s", file, fault)
		}
	})
}

// buildRawZip is buildZip, but takes any name as a file's.
func buildRawZip(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, it := range items {
		h := &zip.FileHeader{Name: it.name, Method: zip.Store}
		content := it.content
		if it.link != "" {
			h.SetMode(os.ModeSymlink | 0o777)
			content = it.link
		}
		raw := []byte(content)
		h.UncompressedSize64, h.CompressedSize64 = uint64(len(raw)), uint64(len(raw))
		h.CRC32 = crcOf(raw)
		f, err := w.CreateRaw(h)
		if err != nil {
			t.Skip(err)
		}
		if _, err := f.Write(raw); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Skip(err)
	}
	return b.Bytes()
}
