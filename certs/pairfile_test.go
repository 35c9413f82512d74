package certs

import (
	"bytes"
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLoadOrCreate_LifeOfAPair(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "folder")
	certPath, keyPath := filepath.Join(dir, "api.crt"), filepath.Join(dir, "api.key")
	r := Request{Names: []string{"edge-1", "127.0.0.1"}, Now: testNow}
	load := func(r Request) (Pair, bool) {
		t.Helper()
		p, created, err := LoadOrCreate(certPath, keyPath, r)
		if err != nil {
			t.Fatal(err)
		}
		for path, mode := range map[string]fs.FileMode{keyPath: 0o600, certPath: 0o644} {
			st, err := os.Stat(path)
			if err != nil || st.Mode().Perm() != mode {
				t.Fatalf("%s: %v, %v", path, st.Mode(), err)
			}
		}
		onDisk, err := os.ReadFile(certPath)
		if err != nil || !bytes.Equal(onDisk, p.CertPEM) {
			t.Fatal("the pair is not what is on disk")
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
			t.Fatalf("left behind: %v", left)
		}
		if ps := Judge(p.CertPEM, p.KeyPEM, r.Names, r.Now); len(ps) > 0 {
			t.Fatal(ps)
		}
		return p, created
	}
	first, created := load(r)
	if !created {
		t.Fatal("the first is not new")
	}
	pin := PinOf(first.Leaf)
	same := func(what string, r Request, wantRenewed bool) {
		t.Helper()
		before, err := os.ReadFile(certPath)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		p, created := load(r)
		if created || PinOf(p.Leaf) != pin {
			t.Fatalf("%s: another key", what)
		}
		if renewed := !bytes.Equal(before, p.CertPEM); renewed != wantRenewed {
			t.Fatalf("%s: renewed is %v", what, renewed)
		}
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	same("loaded again", r, false)
	r.Now = testNow.Add(DefaultLife * 65 / 100)
	same("more than a third left", r, false)
	r.Now = testNow.Add(DefaultLife * 67 / 100)
	same("a third left", r, true)
	same("after the renewal", r, false)
	r.Names = append(r.Names, "edge-1.example.org")
	same("one more name", r, true)
	r.Names = r.Names[:1]
	same("fewer names", r, false)
	write(certPath, "")
	same("certificate emptied", r, true)
	if err := os.Remove(certPath); err != nil {
		t.Fatal(err)
	}
	same("certificate lost, as by a crash between the two files", r, true)
	foreign, _ := mustSelfSigned(t, r)
	write(certPath, string(foreign))
	same("certificate of another key", r, true)
	if err := os.Chmod(keyPath, 0o644); err != nil {
		t.Fatal(err)
	}
	same("key readable by others", r, false)
	if err := os.Remove(keyPath); err != nil {
		t.Fatal(err)
	}
	if p, created := load(r); !created || PinOf(p.Leaf) == pin {
		t.Fatal("a lost key came back")
	}
}

func TestLoadOrCreate_NeverOverwritesWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certPath, keyPath := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	r := Request{Names: []string{"edge-1"}, Now: testNow}
	caKey, leafKey := ecKey(t), ecKey(t)
	root, _ := issue(t, caKey, ca("root"), nil, nil)
	_, leafPEM := issue(t, leafKey, func(c *x509.Certificate) { c.NotAfter = testNow.Add(-time.Hour) }, root, caKey)
	check := func(what, cert, key, want string) {
		t.Helper()
		for path, text := range map[string]string{certPath: cert, keyPath: key} {
			_ = os.Remove(path)
			if text != "" {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, _, err := LoadOrCreate(certPath, keyPath, r)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", what, err)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: %v", what, err)
		}
		for path, text := range map[string]string{certPath: cert, keyPath: key} {
			if got, _ := os.ReadFile(path); string(got) != text {
				t.Errorf("%s: %s was changed", what, path)
			}
		}
	}
	check("damaged key", "", "junk", "move it away")
	check("issued certificate", string(leafPEM), string(keyPEM(t, leafKey)), "was issued by")
	check("issued certificate without key", string(leafPEM), "", "without its key")
}

func TestLoadOrCreate_UnwritableFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := LoadOrCreate(filepath.Join(file, "c.pem"), filepath.Join(file, "k.pem"), Request{Names: []string{"a"}})
	if err == nil {
		t.Error("wrote into a file")
	}
}
