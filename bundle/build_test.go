package bundle

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// item is one entry of an archive that a test builds. A name with a slash at its end is a folder.
type item struct {
	name, content string
	link          string // symbolic link to this
	hard          string // hard link to this (tar only)
	device        bool   // tar only
	mode          fs.FileMode
}

func buildTar(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, it := range items {
		h := &tar.Header{Name: it.name, Mode: int64(it.mode), Size: int64(len(it.content)), Typeflag: tar.TypeReg}
		switch {
		case it.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, it.link
		case it.hard != "":
			h.Typeflag, h.Linkname = tar.TypeLink, it.hard
		case it.device:
			h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 1, 3
		case strings.HasSuffix(it.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatalf("tar header %q: %v", it.name, err)
		}
		if _, err := io.WriteString(w, it.content); err != nil {
			t.Fatalf("tar content %q: %v", it.name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func buildZip(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, it := range items {
		h := &zip.FileHeader{Name: it.name, Method: zip.Deflate}
		content := it.content
		switch {
		case it.link != "":
			h.SetMode(fs.ModeSymlink | 0o777)
			content = it.link
		case strings.HasSuffix(it.name, "/"):
			h.Method = zip.Store
		case it.mode != 0:
			h.SetMode(it.mode)
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatalf("zip header %q: %v", it.name, err)
		}
		if _, err := io.WriteString(f, content); err != nil {
			t.Fatalf("zip content %q: %v", it.name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// buildRar composes a RAR 4 archive with stored files, by the public description of the format: marker, archive
// header, file headers with method 0x30, end. There is no library that writes the compressed methods.
func buildRar(t testing.TB, items ...item) []byte {
	t.Helper()
	block := func(typ byte, flags uint16, fields, data []byte) []byte {
		h := []byte{typ}
		h = binary.LittleEndian.AppendUint16(h, flags)
		h = binary.LittleEndian.AppendUint16(h, uint16(7+len(fields)))
		h = append(h, fields...)
		sum := binary.LittleEndian.AppendUint16(nil, uint16(crc32.ChecksumIEEE(h)))
		return append(append(sum, h...), data...)
	}
	out := []byte("Rar!\x1a\x07\x00")
	out = append(out, block(0x73, 0, make([]byte, 6), nil)...)
	for _, it := range items {
		attr, flags, content := uint32(0o100644), uint16(0x8000), it.content
		switch {
		case strings.HasSuffix(it.name, "/"):
			attr, flags = 0o040755, flags|0x00e0
		case it.link != "":
			attr, content = 0o120777, it.link
		}
		name := strings.TrimSuffix(it.name, "/")
		var f []byte
		f = binary.LittleEndian.AppendUint32(f, uint32(len(content)))
		f = binary.LittleEndian.AppendUint32(f, uint32(len(content)))
		f = append(f, 3) // made on Unix
		f = binary.LittleEndian.AppendUint32(f, crc32.ChecksumIEEE([]byte(content)))
		f = binary.LittleEndian.AppendUint32(f, 0x5021_0000) // time
		f = append(f, 20, 0x30)
		f = binary.LittleEndian.AppendUint16(f, uint16(len(name)))
		f = binary.LittleEndian.AppendUint32(f, attr)
		f = append(f, name...)
		out = append(out, block(0x74, flags, f, []byte(content))...)
	}
	return append(out, block(0x7b, 0x4000, nil, nil)...)
}

// pack compresses a tar archive into a type. tar.bz2, which no library here writes, is not possible.
func pack(t testing.TB, typ string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch longType(typ) {
	case "tar":
		return data
	case "tar.gz":
		w = gzip.NewWriter(&b)
	case "tar.xz":
		w, err = xz.NewWriter(&b)
	case "tar.zst":
		w, err = zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	case "tar.lz4":
		w = lz4.NewWriter(&b)
	case "tar.sz":
		w = s2.NewWriter(&b, s2.WriterSnappyCompat(), s2.WriterConcurrency(1))
	default:
		t.Fatalf("cannot pack %s", typ)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// siteItems is what testdata/site.tar.bz2 holds too.
func siteItems() []item {
	return []item{
		{name: "index.html", content: "<!doctype html><title>Home</title>\n"},
		{name: "css/site.css", content: "body { color: #333 }\n"},
		{name: "deep/er/still/data.json", content: "{\"deep\":true}\n"},
	}
}

// buildSite builds the same site in any type.
func buildSite(t testing.TB, typ string) []byte {
	t.Helper()
	switch longType(typ) {
	case "zip":
		return buildZip(t, siteItems()...)
	case "rar":
		return buildRar(t, siteItems()...)
	case "tar.bz2":
		data, err := os.ReadFile("testdata/site.tar.bz2")
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	return pack(t, typ, buildTar(t, siteItems()...))
}

func contents(items []item) map[string]string {
	m := map[string]string{}
	for _, it := range items {
		m[it.name] = it.content
	}
	return m
}

func writeArchive(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readTree returns the regular files below a folder, and fails on anything but files 0644 and folders 0755.
func readTree(t testing.TB, dir string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		switch {
		case d.IsDir():
			if info.Mode().Perm() != 0o755 {
				t.Errorf("%s: mode %v", rel, info.Mode())
			}
			return nil
		case info.Mode() != 0o644:
			t.Errorf("%s: mode %v", rel, info.Mode())
		}
		data, err := os.ReadFile(path)
		tree[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func wantTree(t testing.TB, dir string, want map[string]string) {
	t.Helper()
	if got := readTree(t, dir); !maps.Equal(got, want) {
		t.Errorf("unpacked %q\nwant %q", got, want)
	}
}

func crcOf(b []byte) uint32 { return crc32.ChecksumIEEE(b) }
