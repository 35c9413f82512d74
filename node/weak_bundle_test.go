package node

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"statiko/api"
	"statiko/state"
)

// Weakness W12: the cache was keyed by name, so that an earlier upload of the name was served.
func TestW12_SameNameOtherContent(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), "  type: local=>  keepVersions: 1\n  type: local")
	n.addSite("a.test")
	n.upload("other", map[string]string{"index.html": "other"})
	n.upload("app", map[string]string{"index.html": "first"})
	n.deploy("a.test", "app")
	n.want("a.test", "/", "first")
	tag := n.get("a.test", "/").header.Get("ETag")
	if err := n.client.UploadApp(n.ctx(), "app", "zip", bytes.NewReader(zipOf(t, map[string]string{"index.html": "sneak"})), nil); !errors.Is(err, state.ErrExists) {
		t.Errorf("other content under a taken name: %v", err)
	}
	n.deploy("a.test", "other")
	n.ok(n.client.DeleteApp(n.ctx(), "app"))
	n.upload("app", map[string]string{"index.html": "newer"}) // of the same size
	n.deploy("a.test", "app")
	n.want("a.test", "/", "newer")
	if p := n.get("a.test", "/", "If-None-Match: "+tag); p.status != 200 {
		t.Errorf("a client that has the first gets %d", p.status)
	}
}

// Weakness W17: a file with a short name in the repository's folder, without a stored type, ended the process.
func TestW17_ShortNamedFileInTheRepository(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	archive := string(zipOf(t, map[string]string{"index.html": "short"}))
	for _, name := range []string{"abc", "a", "old.zip"} {
		writeFile(t, filepath.Join(dir, "repo", name), archive)
	}
	n := start(t, dir)
	n.addSite("a.test")
	for _, name := range []string{"abc", "a"} {
		if err := n.client.Deploy(n.ctx(), "a.test", name); err == nil {
			t.Logf("%s was taken up", name)
		} else if !errors.Is(err, state.ErrInvalid) {
			t.Errorf("deploying %s: %v", name, err)
		}
	}
	// One whose name tells its type is taken up.
	n.eventually(func() error { return n.client.Deploy(n.ctx(), "a.test", "old.zip", api.Wait(patience)) })
	n.want("a.test", "/", "short")
	// And what lay there is no obstacle to an upload of the name.
	n.upload("abc", map[string]string{"index.html": "uploaded"})
	n.deploy("a.test", "abc")
	n.want("a.test", "/", "uploaded")
}

// Weakness W35: after a failed extraction the next sync served the part that was there.
func TestW35_HalfABundleIsNeverServed(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("a.test")
	whole := tarGzOf(t, map[string]string{"index.html": "index", "z/last.html": strings.Repeat("incompressible? ", 1000)})
	err := n.client.UploadApp(n.ctx(), "cut", "tar.gz", bytes.NewReader(whole[:len(whole)-20]), nil)
	if !errors.Is(err, state.ErrInvalid) {
		t.Errorf("a truncated archive: %v", err)
	}
	for range 2 {
		n.ok(n.client.Sync(n.ctx(), api.Wait(patience)))
		if err := n.client.Deploy(n.ctx(), "a.test", "cut"); !errors.Is(err, state.ErrInvalid) {
			t.Errorf("deploying it: %v", err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(n.dir, "data/apps")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if left, err := os.ReadDir(filepath.Join(n.dir, "data/uploads")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Weakness W36: archives without entries for folders failed.
func TestW36_DeepFilesWithoutFolderEntries(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("a.test")
	n.ok(n.client.UploadApp(n.ctx(), "deep", "tar.gz", bytes.NewReader(tarGzOf(t, map[string]string{
		"index.html": "top", "a/b/c/d/e.txt": "deep",
	})), nil))
	n.deploy("a.test", "deep")
	n.want("a.test", "/a/b/c/d/e.txt", "deep")
}

// Weakness W37: of two sites with one bundle, only the last got its manifest after a restart.
func TestW37_SharedBundleHasItsManifestEverywhere(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.upload("shared", map[string]string{
		"index.html": "shared", "gone.html": "sorry", "_statiko.yaml": "page404: gone.html\nrules:\n  - prefix: /\n    options: {headers: {X-Shared: \"yes\"}}\n",
	})
	hosts := []string{"a.test", "b.test", "c.test"}
	for _, host := range hosts {
		n.addSite(host)
		n.deploy(host, "shared")
	}
	for range 2 {
		for _, host := range hosts {
			n.eventually(func() error { return n.serves(host, "shared") })
			if p := n.get(host, "/"); p.header.Get("X-Shared") != "yes" {
				t.Errorf("%s lacks the manifest's header", host)
			}
			if p := n.get(host, "/missing"); p.status != 404 || p.body != "sorry" {
				t.Errorf("%s: %d %.60q", host, p.status, p.body)
			}
			if p := n.get(host, "/_statiko.yaml"); p.status != 404 {
				t.Errorf("%s: the manifest itself: %d", host, p.status)
			}
		}
		n.stop()
		n = start(t, n.dir)
	}
}

// Weakness W46: an archive wrote outside of its folder.
func TestW46_UploadCannotLeaveItsFolder(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	for _, name := range []string{"../../../escaped", "/escaped", "a/../../../../escaped", `..\..\escaped`} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, f := range []string{"index.html", name} {
			n.ok(w.WriteHeader(&tar.Header{Name: f, Typeflag: tar.TypeReg, Mode: 0o644, Size: 3}))
			_, err := io.WriteString(w, "out")
			n.ok(err)
		}
		n.ok(w.Close())
		err := n.client.UploadApp(n.ctx(), "evil", "tar", &b, nil)
		if !errors.Is(err, state.ErrInvalid) && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			n.ok(n.client.DeleteApp(n.ctx(), "evil"))
		}
	}
	n.ok(filepath.WalkDir(n.dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && strings.Contains(filepath.Base(path), "escaped") && !strings.HasPrefix(path, filepath.Join(n.dir, "data/apps")) {
			err = fmt.Errorf("%s was written", path)
		}
		return err
	}))
}

// Weakness W49: a hash of another length counted as none.
func TestW49_OddHashIsRefused(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	archive := zipOf(t, map[string]string{"index.html": "x"})
	n.ok(n.client.UploadApp(n.ctx(), "app", "zip", bytes.NewReader(archive), nil))
	sum := sha256.Sum256(archive)
	other := sha256.Sum256([]byte("other"))
	for name, hash := range map[string][]byte{"31 bytes": sum[:31], "SHA-1's length": sum[:20], "another's": other[:]} {
		m := api.AppMetadata{Hash: base64.StdEncoding.EncodeToString(hash)}
		if err := n.client.SetAppMetadata(n.ctx(), "app", m); !errors.Is(err, state.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	n.ok(n.client.SetAppMetadata(n.ctx(), "app", api.AppMetadata{Hash: base64.StdEncoding.EncodeToString(sum[:])}))
	if err := n.client.SetAppMetadata(n.ctx(), "app", api.AppMetadata{Signature: "AAAA"}); !errors.Is(err, state.ErrInvalid) {
		t.Errorf("a signature of three bytes: %v", err)
	}
}

// Weakness W50: what was in the cache was used unverified.
func TestW50_ChangedArchiveIsNeverServed(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("a.test")
	n.addSite("b.test")
	archive := zipOf(t, map[string]string{"index.html": "right"})
	n.ok(n.client.UploadApp(n.ctx(), "app", "zip", bytes.NewReader(archive), nil))
	n.deploy("a.test", "app")
	n.stop()
	// The unpacked bundle is lost, and somebody put another archive in the place of the first.
	n.ok(os.RemoveAll(filepath.Join(n.dir, "data/apps")))
	writeFile(t, filepath.Join(n.dir, "repo/app"), string(zipOf(t, map[string]string{"index.html": "wrong"})))
	n = start(t, n.dir)
	n.eventually(func() error {
		if h := n.health("a.test"); !strings.HasPrefix(h, "503") || !strings.Contains(h, "SHA-256") {
			return errors.New(h)
		}
		return nil
	})
	if err := n.client.Deploy(n.ctx(), "b.test", "app"); err == nil {
		t.Error("the changed archive was deployed")
	}
	for _, host := range []string{"a.test", "b.test"} {
		if p := n.get(host, "/"); strings.Contains(p.body, "wrong") {
			t.Errorf("%s serves the changed archive", host)
		}
	}
	// The right one is back: found by looking again.
	writeFile(t, filepath.Join(n.dir, "repo/app"), string(archive))
	n.ok(n.client.Sync(n.ctx()))
	n.eventually(func() error { return n.serves("a.test", "right") })
}

// Weakness W51: nothing limited uploads and what they unpack to.
func TestW51_BombAndTooLargeUploadAreRefused(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), "maxUploadSize: 64MiB=>maxUploadSize: 1MiB\n  maxUnpackedSize: 4MiB\n  maxFiles: 50")
	bomb := zipOf(t, map[string]string{"index.html": strings.Repeat("\x00", 5<<20)})
	if err := n.client.UploadApp(n.ctx(), "bomb", "zip", bytes.NewReader(bomb), nil); !errors.Is(err, state.ErrInvalid) {
		t.Errorf("a bomb: %v", err)
	}
	many := map[string]string{}
	for i := range 51 {
		many[fmt.Sprintf("f%d", i)] = "x"
	}
	if err := n.client.UploadApp(n.ctx(), "many", "zip", bytes.NewReader(zipOf(t, many)), nil); !errors.Is(err, state.ErrInvalid) {
		t.Errorf("51 files: %v", err)
	}
	if err := n.client.UploadApp(n.ctx(), "large", "zip", bytes.NewReader(make([]byte, 3<<20)), nil); !errors.Is(err, state.ErrTooLarge) {
		t.Errorf("3 MiB: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(n.dir, "data/uploads")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	n.upload("fine", map[string]string{"index.html": "fine"})
}
