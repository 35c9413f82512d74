package bundle_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"statiko/bundle"
	"statiko/bundle/repotest"
)

func openLocal(t testing.TB, dir string) *bundle.Local {
	t.Helper()
	l, err := bundle.OpenLocal(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func names(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func TestLocal_Suite(t *testing.T) {
	t.Parallel()
	repotest.Run(t, func(t *testing.T) bundle.Repository { return openLocal(t, filepath.Join(t.TempDir(), "repo")) })
}

// A folder of the earlier program: with and without metadata, with what else may lie there.
func TestLocal_ReadsTheEarlierProgramsFolder(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "docs-1"), "archive")
	write(t, filepath.Join(dir, ".metadata.docs-1"), `{"type":"tar.gz","hash":"aGFzaA==","other":"kept"}`)
	write(t, filepath.Join(dir, "abc"), "no metadata, short name")
	write(t, filepath.Join(dir, "x.zip"), "no metadata")
	write(t, filepath.Join(dir, "broken"), "broken metadata")
	write(t, filepath.Join(dir, ".metadata.broken"), `[1]`)
	write(t, filepath.Join(dir, "empty"), "")
	write(t, filepath.Join(dir, ".hidden"), "x")
	write(t, filepath.Join(dir, "UPPER"), "x")
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := openLocal(t, dir)
	list, err := l.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Name+":"+e.Meta.Type)
	}
	if want := "abc: broken: docs-1:tar.gz x.zip:zip"; strings.Join(got, " ") != want {
		t.Errorf("listed %q; want %q", got, want)
	}
	body, meta, err := l.Open(ctx, "docs-1", 0)
	if err != nil || meta != (bundle.Meta{Type: "tar.gz", Hash: "aGFzaA=="}) {
		t.Fatalf("%+v, %v", meta, err)
	}
	_ = body.Close()
	if _, _, err := l.Open(ctx, "broken", 0); err == nil || !strings.Contains(err.Error(), ".metadata.broken") {
		t.Errorf("broken metadata: %v; want its file named", err)
	}
	for _, missing := range []string{"empty", "folder"} {
		if _, _, err := l.Open(ctx, missing, 0); !errors.Is(err, bundle.ErrNotFound) {
			t.Errorf("%s: %v; want ErrNotFound", missing, err)
		}
	}
	if err := l.SetMeta(ctx, "docs-1", bundle.Meta{Type: "zip"}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, ".metadata.docs-1"))
	if err != nil || !strings.Contains(string(data), `"other": "kept"`) || strings.Contains(string(data), "hash") {
		t.Errorf("metadata is now %s, %v", data, err)
	}
	if err := l.Create(ctx, "empty", repotest.Upload(t, []byte("now")), bundle.Meta{Type: "zip"}); err != nil {
		t.Errorf("over a bundle of no bytes: %v", err)
	}
}

// W17: names of fewer than four characters without a type.
func TestW17_ShortNamesWithoutType(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a", "ab", "abc"} {
		write(t, filepath.Join(dir, name), "x")
	}
	l := openLocal(t, dir)
	for _, name := range []string{"a", "ab", "abc"} {
		body, meta, err := l.Open(context.Background(), name, 0)
		if err != nil || meta.Type != "" {
			t.Fatalf("%s: %+v, %v", name, meta, err)
		}
		_ = body.Close()
	}
}

func TestLocal_RemovesInterruptedUploadsButNotRunningOnes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := openLocal(t, dir)
	if err := l.Create(context.Background(), "site", repotest.Upload(t, []byte("x")), bundle.Meta{Type: "zip"}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, ".upload-123"), "half an upl")
	running, err := bundle.NewSpool(context.Background(), dir, strings.NewReader("running"), 100)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Discard()
	l = openLocal(t, dir)
	if got, want := names(t, dir), ".metadata.site "+filepath.Base(running.Path)+" site"; got != want {
		t.Errorf("the folder holds %q; want %q", got, want)
	}
	// Its content is then taken over, and nothing else is left.
	if err := l.Create(context.Background(), "other", running, bundle.Meta{Type: "zip"}); err != nil {
		t.Fatal(err)
	}
	running.Discard()
	if got, want := names(t, dir), ".metadata.other .metadata.site other site"; got != want {
		t.Errorf("the folder holds %q; want %q", got, want)
	}
}

// A crash between the removal of an archive and that of its metadata leaves the latter.
func TestLocal_RemovesMetadataOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{"there", ".metadata.there", ".metadata.gone", ".metadata.coming"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(`{"type":"zip"}`), 0o644); err != nil {
			t.Fatal(err)
		}
		if name == ".metadata.coming" {
			continue
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bundle.OpenLocal(dir, nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"there": true, ".metadata.there": true, ".metadata.gone": false, ".metadata.coming": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSpool_HashesAndBounds(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	content := strings.Repeat("x", 100_000)
	s, err := bundle.NewSpool(ctx, dir, strings.NewReader(content), 100_000)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(content))
	if s.Size != 100_000 || s.SHA256 != hex.EncodeToString(sum[:]) || s.HashBase64() != base64.StdEncoding.EncodeToString(sum[:]) {
		t.Errorf("%+v", s)
	}
	if got, err := (bundle.Meta{Hash: s.HashBase64()}).SHA256(); err != nil || got != s.SHA256 {
		t.Errorf("hash %s, %v", got, err)
	}
	if data, err := os.ReadFile(s.Path); err != nil || string(data) != content {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	s.Discard()
	s.Discard()

	broken := errors.New("connection reset")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		r    io.Reader
		want error
	}{
		"OneTooMany": {ctx, strings.NewReader(content + "x"), bundle.ErrTooLarge},
		"Endless":    {ctx, endless{}, bundle.ErrTooLarge},
		"Broken":     {ctx, io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), broken},
		"Cut":        {ctx, iotest.TimeoutReader(bytes.NewReader(make([]byte, 90_000))), iotest.ErrTimeout},
		"Cancelled":  {cancelled, strings.NewReader("x"), context.Canceled},
	} {
		if _, err := bundle.NewSpool(test.ctx, dir, test.r, 100_000); !errors.Is(err, test.want) {
			t.Errorf("%s: %v; want %v", name, err, test.want)
		}
	}
	var ae *bundle.ArchiveError
	if _, err := bundle.NewSpool(ctx, dir, strings.NewReader(""), 10); !errors.As(err, &ae) {
		t.Errorf("empty: %v", err)
	}
	if left := names(t, dir); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestW49_HashOrSignatureOfOddLengthIsAnError(t *testing.T) {
	t.Parallel()
	b64 := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for _, m := range []bundle.Meta{
		{Hash: b64(31)}, {Hash: b64(33)}, {Hash: "!"}, {Hash: b64(64)}, {Hash: b64(32) + "\n"}, {Hash: strings.TrimRight(b64(32), "=")},
		{Signature: b64(255)}, {Signature: b64(1)}, {Signature: "?"}, {Signature: b64(2000)}, {Type: "exe"},
	} {
		if err := m.Check(); err == nil {
			t.Errorf("%+v is accepted", m)
		}
	}
	for _, m := range []bundle.Meta{{}, {Type: "tgz", Hash: b64(32), Signature: b64(512)}, {Signature: b64(256)}, {Signature: b64(384)}} {
		if err := m.Check(); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
	err := bundle.Meta{Type: "exe", Hash: "!", Signature: "?"}.Check()
	if n := strings.Count(err.Error(), "\n"); n != 2 {
		t.Errorf("not all faults are named: %v", err)
	}
}
