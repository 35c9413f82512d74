package cli

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
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
	for name, block := range map[string]*pem.Block{
		"PKCS #1": {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}, "PKCS #8": {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		s, err := loadSigner(string(pem.EncodeToMemory(block)))
		if err != nil || s.bits() != 2048 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"encrypted":     "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"old encrypted": "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
		"damaged":       "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
		"broken off":    "-----BEGIN RSA PRIVATE KEY-----\nAAAA",
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

func TestSize_AsTheEarlierProgram(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.00 KB", 183320: "179.02 KB", 5 << 30: "5.00 GB", 1 << 62: "4.00 EB"} {
		if got := size(n); got != want {
			t.Errorf("%d is %q, not %q", n, got, want)
		}
	}
}
