package bundle

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
)

// realApps returns the archives in the folder that STATIKO_TEST_APPS names: real sites, which are not part of
// this module.
func realApps(t testing.TB) []string {
	t.Helper()
	dir := os.Getenv("STATIKO_TEST_APPS")
	if dir == "" {
		t.Skip("STATIKO_TEST_APPS does not name a folder with real archives")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var apps []string
	for _, e := range entries {
		if _, ok := TypeOfFile(e.Name()); ok {
			apps = append(apps, filepath.Join(dir, e.Name()))
		}
	}
	if len(apps) == 0 {
		t.Fatalf("%s holds no archives", dir)
	}
	return apps
}

// Real sites are staged byte for byte, compared with a second, simple reader of the archive.
func TestRealApps_AreStagedByteForByte(t *testing.T) {
	t.Parallel()
	for _, app := range realApps(t) {
		t.Run(filepath.Base(app), func(t *testing.T) {
			data, err := os.ReadFile(app)
			if err != nil {
				t.Fatal(err)
			}
			typ, _ := TypeOfFile(app)
			staged, err := newStager(t).Stage(context.Background(), request(t, data, typ))
			if err != nil {
				t.Fatal(err)
			}
			want := simpleRead(t, data, typ)
			got := readTree(t, filepath.Join(staged.Root, FilesDir))
			for name, content := range want {
				if got[name] != content {
					t.Errorf("%s differs", name)
				}
			}
			if len(got) != len(want) || staged.Files != len(want) {
				t.Errorf("%d files, staged says %d; want %d", len(got), staged.Files, len(want))
			}
			for name, content := range readTree(t, filepath.Join(staged.Root, BrotliDir)) {
				plain, err := io.ReadAll(brotli.NewReader(strings.NewReader(content)))
				if err != nil || string(plain) != got[name] {
					t.Errorf("Brotli form of %s: %v", name, err)
				}
			}
			t.Logf("%d files, %d bytes, warnings %q", staged.Files, staged.Bytes, staged.Warnings)
		})
	}
}

// simpleRead returns the files of a trusted archive without the folder that holds them all.
func simpleRead(t *testing.T, data []byte, typ string) map[string]string {
	t.Helper()
	files := map[string]string{}
	if typ == "zip" {
		zr, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range zr.File {
			if strings.HasSuffix(f.Name, "/") {
				continue
			}
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			files[path.Clean(f.Name)] = string(content)
		}
	} else {
		stream, done, err := decompress(longType(typ), bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		for tr := tar.NewReader(stream); ; {
			h, err := tr.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(tr)
			if err != nil {
				t.Fatal(err)
			}
			switch h.Typeflag {
			case tar.TypeReg:
				files[path.Clean(h.Name)] = string(content)
			case tar.TypeSymlink:
				files[path.Clean(h.Name)] = files[path.Join(path.Dir(h.Name), h.Linkname)]
			}
		}
	}
	var top string
	for name := range files {
		top, _, _ = strings.Cut(name, "/")
		break
	}
	stripped := map[string]string{}
	for name, content := range files {
		rest, ok := strings.CutPrefix(name, top+"/")
		if !ok {
			return files
		}
		stripped[rest] = content
	}
	return stripped
}

func BenchmarkStage(b *testing.B) {
	for _, app := range realApps(b) {
		b.Run(filepath.Base(app), func(b *testing.B) {
			data, err := os.ReadFile(app)
			if err != nil {
				b.Fatal(err)
			}
			typ, _ := TypeOfFile(app)
			s, r := newStager(b), request(b, data, typ)
			for b.Loop() {
				staged, err := s.Stage(context.Background(), r)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(staged.Bytes)
				b.StopTimer()
				if err := s.Remove(r.SHA256); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkPrecompress shows what levels cost and save, for gzipLevel and brotliLevel. One processor.
func BenchmarkPrecompress(b *testing.B) {
	for _, app := range realApps(b) {
		typ, _ := TypeOfFile(app)
		dest := filepath.Join(b.TempDir(), "files")
		if _, err := Extract(context.Background(), app, typ, dest, Limits{}, nil); err != nil {
			b.Fatal(err)
		}
		var texts []string
		total := 0
		for name, content := range readTree(b, dest) {
			if Compressible(name) && len(content) >= minCompress {
				texts = append(texts, content)
				total += len(content)
			}
		}
		encoders := map[string]func() encoder{}
		order := []string{}
		for _, level := range []int{6, 7, 8, 9} {
			name := "gzip" + string(rune('0'+level))
			order = append(order, name)
			encoders[name] = func() encoder { w, _ := gzip.NewWriterLevel(io.Discard, level); return w }
		}
		for _, level := range []int{4, 5, 6, 7, 9} {
			name := "br" + string(rune('0'+level))
			order = append(order, name)
			encoders[name] = func() encoder { return brotli.NewWriterLevel(io.Discard, level) }
		}
		for _, name := range order {
			b.Run(filepath.Base(app)+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(total))
				enc := encoders[name]()
				var out int64
				for b.Loop() {
					out = 0
					for _, text := range texts {
						count := &boundedWriter{w: io.Discard, left: 1 << 40}
						enc.Reset(count)
						_, _ = io.WriteString(enc, text)
						_ = enc.Close()
						out += 1<<40 - count.left
					}
				}
				b.ReportMetric(float64(out)/float64(total)*100, "%size")
			})
		}
	}
}

// BenchmarkSyncTree compares one syncfs with an fsync of each file, freshly written.
func BenchmarkSyncTree(b *testing.B) {
	apps := realApps(b)
	for name, sync := range map[string]func(string) error{"syncTree": syncTree, "syncEach": syncEach} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				dir := b.TempDir()
				for i, app := range apps {
					typ, _ := TypeOfFile(app)
					if _, err := Extract(context.Background(), app, typ, filepath.Join(dir, string(rune('a'+i))), Limits{}, nil); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
				if err := sync(dir); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
