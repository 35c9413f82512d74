package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
)

func newStager(t testing.TB) *Stager {
	t.Helper()
	s, err := NewStager(StagerOptions{Dir: filepath.Join(t.TempDir(), "apps")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func request(t testing.TB, data []byte, typ string) StageRequest {
	t.Helper()
	sum := sha256.Sum256(data)
	return StageRequest{
		ArchivePath: writeArchive(t, data), Type: typ, SHA256: hex.EncodeToString(sum[:]),
		Modified: time.Date(2021, 2, 3, 4, 5, 6, 789, time.FixedZone("", 3600)),
	}
}

// wantNothingLeft fails if anything but whole bundles is in the stager's folder.
func wantNothingLeft(t testing.TB, s *Stager, whole ...string) {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if strings.Join(names, " ") != strings.Join(whole, " ") {
		t.Errorf("the folder holds %q; want %q", names, whole)
	}
}

func stageItems() []item {
	text := strings.Repeat("<p>Some text that can be compressed well.</p>\n", 100)
	noise := make([]byte, 4000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	return []item{
		{name: "index.html", content: text},
		{name: "a/b/app.JS", content: text},
		{name: "tiny.css", content: "body{}"},
		{name: "noise.txt", content: string(noise)},
		{name: "photo.jpg", content: text},
		{name: "_statiko.yaml", content: "page404: index.html\n"},
	}
}

func TestStage_LaysOutFilesAndCompressedForms(t *testing.T) {
	t.Parallel()
	s := newStager(t)
	r := request(t, buildZip(t, stageItems()...), "zip")
	staged, err := s.Stage(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	modified := time.Date(2021, 2, 3, 3, 5, 6, 0, time.UTC)
	if staged.Root != filepath.Join(s.dir, r.SHA256) || staged.Files != 6 || !staged.Modified.Equal(modified) || staged.SHA256 != r.SHA256 {
		t.Errorf("staged %+v", staged)
	}
	want := contents(stageItems())
	wantTree(t, filepath.Join(staged.Root, FilesDir), want)
	decoders := map[string]func(io.Reader) (io.Reader, error){
		GzipDir:   func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		BrotliDir: func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
	}
	for dir, decoder := range decoders {
		got := readTree(t, filepath.Join(staged.Root, dir))
		for name, content := range got {
			d, err := decoder(strings.NewReader(content))
			if err != nil {
				t.Fatalf("%s/%s: %v", dir, name, err)
			}
			plain, err := io.ReadAll(d)
			if err != nil || string(plain) != want[name] {
				t.Errorf("%s/%s does not hold the file: %v", dir, name, err)
			}
			if len(content) > len(want[name])*9/10 {
				t.Errorf("%s/%s: %d bytes of %d", dir, name, len(content), len(want[name]))
			}
		}
		if len(got) != 2 || got["index.html"] == "" || got["a/b/app.JS"] == "" {
			t.Errorf("%s holds %v; want index.html and a/b/app.JS", dir, keys(got))
		}
	}
	wantTimes(t, staged.Root, modified)
	again, ok := s.Staged(r.SHA256)
	if !ok || fmt.Sprint(*again) != fmt.Sprint(*staged) {
		t.Errorf("Staged: %+v; Stage: %+v", again, staged)
	}
	if list, err := s.List(); err != nil || len(list) != 1 || list[0] != r.SHA256 {
		t.Errorf("List: %v, %v", list, err)
	}
	wantNothingLeft(t, s, r.SHA256)
}

func keys(m map[string]string) []string {
	var k []string
	for name := range maps.Keys(m) {
		k = append(k, name)
	}
	return k
}

func wantTimes(t testing.TB, root string, modified time.Time) {
	t.Helper()
	files := 0
	for _, part := range []string{FilesDir, GzipDir, BrotliDir} {
		err := filepath.WalkDir(filepath.Join(root, part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files++
			info, err := d.Info()
			if err == nil && !info.ModTime().Equal(modified) {
				t.Errorf("%s: modified %v; want %v", path, info.ModTime(), modified)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files == 0 {
		t.Error("no files")
	}
}

func TestStage_Retime(t *testing.T) {
	t.Parallel()
	s := newStager(t)
	r := request(t, buildZip(t, stageItems()...), "zip")
	if _, err := s.Stage(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	later := time.Date(2030, 1, 1, 0, 0, 0, 5, time.UTC)
	staged, err := s.Retime(context.Background(), r.SHA256, later)
	if err != nil || !staged.Modified.Equal(later.Truncate(time.Second)) {
		t.Fatalf("%+v, %v", staged, err)
	}
	wantTimes(t, staged.Root, staged.Modified)
	if again, ok := s.Staged(r.SHA256); !ok || !again.Modified.Equal(staged.Modified) {
		t.Errorf("Staged says %+v", again)
	}
	if _, err := s.Retime(context.Background(), strings.Repeat("0", 64), later); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a bundle that is not there: %v", err)
	}
}

// W12: other bytes are another bundle, whatever their name.
func TestW12_DifferentBytesAreDifferentFolders(t *testing.T) {
	t.Parallel()
	s := newStager(t)
	var roots []string
	for _, version := range []string{"one", "two"} {
		staged, err := s.Stage(context.Background(), request(t, buildZip(t, item{name: "index.html", content: version}), "zip"))
		if err != nil {
			t.Fatal(err)
		}
		wantTree(t, filepath.Join(staged.Root, FilesDir), map[string]string{"index.html": version})
		roots = append(roots, staged.Root)
	}
	if roots[0] == roots[1] {
		t.Error("both are in one folder")
	}
	wantTree(t, filepath.Join(roots[0], FilesDir), map[string]string{"index.html": "one"})
}

func TestStager_FolderWithoutInfoIsStagedAnew(t *testing.T) {
	t.Parallel()
	s := newStager(t)
	r := request(t, buildSite(t, "zip"), "zip")
	root := filepath.Join(s.dir, r.SHA256)
	for _, info := range []string{"", "{", `{"format":99,"sha256":"` + r.SHA256 + `"}`} {
		if err := os.MkdirAll(filepath.Join(root, FilesDir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, FilesDir, "evil.html"), []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
		if info != "" {
			if err := os.WriteFile(filepath.Join(root, infoFile), []byte(info), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		staged, err := s.Stage(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		wantTree(t, filepath.Join(staged.Root, FilesDir), contents(siteItems()))
		wantNothingLeft(t, s, r.SHA256)
		if err := s.Remove(r.SHA256); err != nil {
			t.Fatal(err)
		}
		wantNothingLeft(t, s)
	}
	if err := s.Remove(r.SHA256); err != nil {
		t.Errorf("remove what is not there: %v", err)
	}
}

func TestStage_ConcurrentCallsWorkOnce(t *testing.T) {
	t.Parallel()
	s := newStager(t)
	r := request(t, buildZip(t, stageItems()...), "zip")
	var wg sync.WaitGroup
	infos := make([]fs.FileInfo, 8)
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			staged, err := s.Stage(context.Background(), r)
			if errs[i] = err; err == nil {
				infos[i], errs[i] = os.Stat(staged.Root)
			}
		})
	}
	wg.Wait()
	for i := range errs {
		if errs[i] != nil || !os.SameFile(infos[i], infos[0]) {
			t.Errorf("call %d: %v, or another folder", i, errs[i])
		}
	}
	wantNothingLeft(t, s, r.SHA256)
}

func TestStage_WaitingCallTakesOverFromACancelledOne(t *testing.T) {
	t.Parallel()
	s := newStager(t)
	r := request(t, buildSite(t, "zip"), "zip")
	unlock, err := s.busy.lock(context.Background(), r.SHA256) // somebody is at work
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Stage(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled waiter: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.Stage(context.Background(), r)
		done <- err
	}()
	unlock() // without having staged
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantNothingLeft(t, s, r.SHA256)
}

func TestStaged_Manifest(t *testing.T) {
	t.Parallel()
	s := newStager(t)
	staged, err := s.Stage(context.Background(), request(t, buildZip(t,
		item{name: "index.html", content: "x"}, item{name: "good.yaml", content: sample}, item{name: "bad.yaml", content: "rules: [}"},
		item{name: "folder/x", content: "x"}, item{name: "big.yaml", content: strings.Repeat("# x\n", 300_000)},
	), "zip"))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := staged.Manifest("good.yaml"); err != nil || len(m.Rules) != 6 {
		t.Errorf("good: %v, %v", m, err)
	}
	if m, err := staged.Manifest("_statiko.yaml"); err != nil || m != nil {
		t.Errorf("missing: %v, %v; want nil, nil", m, err)
	}
	for _, name := range []string{"bad.yaml", "folder", "big.yaml"} {
		var me *ManifestError
		if m, err := staged.Manifest(name); m != nil || !errors.As(err, &me) || me.Name != name {
			t.Errorf("%s: %v, %v; want a ManifestError", name, m, err)
		}
	}
	if _, err := staged.Manifest("../bundle.json"); err == nil {
		t.Error("a manifest outside of the files was read")
	}
}

func TestStage_LargeFileIsStreamed(t *testing.T) {
	t.Parallel()
	s := newStager(t)
	var b bytes.Buffer
	for i := range 30_000 {
		fmt.Fprintf(&b, `{"id":%d,"name":"entry %x"},`+"\n", i, i*7919)
	}
	staged, err := s.Stage(context.Background(), request(t, buildZip(t, item{name: "data.json", content: b.String()}, item{name: "i.html", content: "x"}), "zip"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(staged.Root, BrotliDir, "data.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(brotli.NewReader(f)); err != nil || !bytes.Equal(got, b.Bytes()) {
		t.Errorf("%d bytes, %v; want %d", len(got), err, b.Len())
	}
}
