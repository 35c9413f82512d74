package cli

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"statiko/bundle"
	"statiko/state"
)

// write makes a file in a folder of the test.
func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func scanned(t *testing.T, dir string) *folderTree {
	t.Helper()
	tree, err := scanFolder(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func packAll(t *testing.T, tree *folderTree) ([]byte, error) {
	t.Helper()
	r := tree.pack(func(int) {})
	defer r.Close()
	return io.ReadAll(r)
}

func TestPack_SameFilesSameArchive(t *testing.T) {
	t.Parallel()
	one, two := t.TempDir(), t.TempDir()
	names := []string{"index.html", "a/b/c.js", "a-b.css", "a/z", "ü/日本.html", strings.Repeat("long-", 30) + "/" + strings.Repeat("n", 120)}
	for i := range names {
		write(t, one, names[i], names[i])
		write(t, two, names[len(names)-1-i], names[len(names)-1-i])
	}
	// Neither when they were written nor who may read them matters.
	err := filepath.WalkDir(two, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if d.IsDir() {
			mode = 0o700
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
		old := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
	first, err := packAll(t, scanned(t, one))
	if err != nil {
		t.Fatal(err)
	}
	second, err := packAll(t, scanned(t, two))
	if err != nil {
		t.Fatal(err)
	}
	if sha256.Sum256(first) != sha256.Sum256(second) {
		t.Error("the same files made different archives")
	}
	write(t, two, "index.html", "another")
	if third, err := packAll(t, scanned(t, two)); err != nil || sha256.Sum256(first) == sha256.Sum256(third) {
		t.Errorf("other files made the same archive: %v", err)
	}
}

func TestPack_FileChangedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"grown": "much more than before", "shrunk": ""} {
		dir := t.TempDir()
		write(t, dir, "index.html", "before")
		tree := scanned(t, dir)
		write(t, dir, "index.html", content)
		_, err := packAll(t, tree)
		if f, ok := errors.AsType[*failure](err); !ok || f.code != ExitLocal || !strings.Contains(f.message, "index.html changed") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	dir := t.TempDir()
	write(t, dir, "index.html", "before")
	tree := scanned(t, dir)
	if err := os.Remove(filepath.Join(dir, "index.html")); err != nil {
		t.Fatal(err)
	}
	if _, err := packAll(t, tree); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removed: got %v", err)
	}
}

func TestPack_ClosedInTheMiddleLeavesNobodyBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "index.html", strings.Repeat("content ", 1<<16))
	r := scanned(t, dir).pack(func(int) {})
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	// goleak in TestMain finds the packer if Close does not wait for it.
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestScanFolder_SpecialFilesAndBadNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "index.html", "x")
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	tree := scanned(t, dir)
	if len(tree.entries) != 1 || len(tree.leftOut) != 1 || tree.leftOut[0] != "pipe (no regular file)" {
		t.Errorf("got %+v", tree)
	}
	for _, name := range []string{"a\xff", "a\nb", `a\b`} {
		dir := t.TempDir()
		write(t, dir, name, "x")
		if _, err := scanFolder(dir, false); err == nil {
			t.Errorf("%q is packed", name)
		}
	}
}

func TestScanFolder_ReachedThroughALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "real/index.html", "x")
	write(t, dir, "real2/secret", "x")
	if err := os.Symlink("real", filepath.Join(dir, "current")); err != nil {
		t.Fatal(err)
	}
	if tree := scanned(t, filepath.Join(dir, "current")); len(tree.entries) != 1 {
		t.Errorf("got %+v", tree)
	}
	// A folder whose name only begins like the root's is outside.
	if err := os.Symlink("../real2/secret", filepath.Join(dir, "real", "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := scanFolder(filepath.Join(dir, "real"), false); err == nil {
		t.Error("a link into real2 is inside of real")
	}
}

func TestLoadSigner(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	_, short, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	shortDER, err := x509.MarshalPKCS8PrivateKey(short)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("an archive"))
	for kind, block := range map[string]*pem.Block{
		"RSA-2048": {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}, "RSA-2048 ": {Type: "PRIVATE KEY", Bytes: pkcs8},
		"Ed25519": {Type: "PRIVATE KEY", Bytes: shortDER},
	} {
		s, err := loadSigner(string(pem.EncodeToMemory(block)))
		if err != nil || s.String() != strings.TrimSpace(kind) {
			t.Errorf("%s: %v, %v", kind, s, err)
			continue
		}
		// What it signs is what nodes take.
		signature, err := s.sign(sum[:])
		if err != nil {
			t.Fatal(err)
		}
		public, err := x509.MarshalPKIXPublicKey(s.key.Public())
		if err != nil {
			t.Fatal(err)
		}
		keys, err := bundle.NewSigners(true, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
		if err != nil {
			t.Fatal(err)
		}
		if err := keys.Check(&state.App{SHA256: hex.EncodeToString(sum[:]), Signature: signature}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if again, err := s.sign(sum[:]); err != nil || again != signature {
			t.Errorf("%s: signed again it is another signature (%v)", kind, err)
		}
	}
	for name, text := range map[string]string{
		"encrypted":      "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"old encrypted":  "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
		"damaged":        "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
		"elliptic curve": "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
		"broken off":     "-----BEGIN RSA PRIVATE KEY-----\nAAAA",
	} {
		f, ok := errors.AsType[*failure](func() error { _, err := loadSigner(text); return err }())
		if !ok || f.code != ExitUser {
			t.Errorf("%s: got %v", name, f)
		}
	}
	if s, err := loadSigner(""); s != nil || err != nil {
		t.Errorf("no key: %v, %v", s, err)
	}
}

func TestWriteFile_KeepsTheOldOneOnFailure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "backup", "old")
	path := filepath.Join(dir, "backup")
	broken := errors.New("broken off")
	if err := writeFile(path, func(w io.Writer) error { _, _ = io.WriteString(w, "half"); return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "old" {
		t.Errorf("now it is %q, %v", b, err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("left behind: %v, %v", list, err)
	}
	if err := os.Symlink("backup", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(filepath.Join(dir, "link"), func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "new" {
		t.Errorf("through the link: %q, %v", b, err)
	}
}

func TestPacked_InterruptedLeavesNothing(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	dir := t.TempDir()
	write(t, dir, "index.html", strings.Repeat("content ", 1<<16))
	a := &app{Env: Env{Stderr: io.Discard}}
	archive, err := a.openArchive(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, _, err := a.packed(ctx, archive); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	file, sum, done, err := a.packed(context.Background(), archive)
	if err != nil {
		t.Fatal(err)
	}
	if again, n, err := file.digest(context.Background(), io.Discard, func(int) {}); err != nil || n != file.total || string(again) != string(sum) {
		t.Errorf("the file has %x, and what was packed %x: %v", again, sum, err)
	}
	done()
	if list, err := os.ReadDir(temporary); err != nil || len(list) != 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

func TestCreateFile_LeavesWhatIsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "docs.zip")
	content := func(text string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
	}
	broken := errors.New("broken off")
	if err := createFile(path, func(w io.Writer) error { _ = content("half")(w); return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
	// Somebody else makes the file meanwhile.
	err := createFile(path, func(w io.Writer) error { write(t, dir, "docs.zip", "theirs"); return content("ours")(w) })
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if err := createFile(path, content("ours")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "theirs" {
		t.Errorf("now it is %q, %v", b, err)
	}
	if err := createFile(filepath.Join(dir, "new"), content("ours")); err != nil {
		t.Error(err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 2 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

func TestContentName(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("content"))
	for domain, want := range map[string]string{
		"docs.example.org": "docs-ed7002b439e9", "4u.example": "site-4u-ed7002b439e9", "xn--bcher-kva.example": "xn--bcher-kva-ed7002b439e9",
		strings.Repeat("a", 63) + ".example": strings.Repeat("a", 63) + "-ed7002b439e9",
	} {
		if got := contentName(domain, sum[:]); got != want {
			t.Errorf("%s: %s, not %s", domain, got, want)
		}
		if _, err := state.CheckAppName(want); err != nil {
			t.Error(err)
		}
	}
}

func TestSize_AsTheEarlierProgram(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.00 KB", 183320: "179.02 KB", 5 << 30: "5.00 GB", 1 << 62: "4.00 EB"} {
		if got := size(n); got != want {
			t.Errorf("%d is %q, not %q", n, got, want)
		}
	}
}
