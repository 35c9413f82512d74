package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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

// Whatever bytes are declared as whatever type: no panic, no escape, no more than the limits.
func FuzzExtractBytes(f *testing.F) {
	for i, typ := range Types()[:9] {
		f.Add(uint8(i), buildSite(f, typ))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		typ := Types()[int(which)%9]
		outer := t.TempDir()
		limits := Limits{MaxBytes: 1 << 20, MaxFiles: 100}
		s, err := Extract(context.Background(), writeArchive(t, data), typ, filepath.Join(outer, "dest"), limits, nil)
		tree := readTree(t, outer)
		var size int64
		for name, content := range tree {
			if !strings.HasPrefix(name, "dest/") {
				t.Fatalf("%q was written outside", name)
			}
			size += int64(len(content))
		}
		if size > limits.MaxBytes {
			t.Fatalf("%d bytes were written", size)
		}
		if err == nil && (s.Files != len(tree) || s.Bytes != size || s.Files == 0) {
			t.Fatalf("summary %+v of %d files with %d bytes", s, len(tree), size)
		}
	})
}
