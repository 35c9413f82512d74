package config

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func TestInitFile_ForAServer(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "edge-1", `we"ird: #name`} {
		o := InitOptions{PSK: NewPSK(), EncryptionKey: NewEncryptionKey(), NodeName: name}
		c, w := mustParse(t, string(InitFile(o)), nil)
		if len(w) > 1 || len(w) == 1 && name != "" {
			t.Errorf("warnings: %v", w)
		}
		if c.Auth.PSK.Key != o.PSK || c.SecretsEncryptionKey != o.EncryptionKey || name != "" && c.NodeName != name {
			t.Errorf("%q: node %s", name, c.NodeName)
		}
		// What the file says and does not ask for is the default.
		d, _ := mustParse(t, minimal, nil)
		if c.Web != d.Web || c.State.File != d.State.File || c.Port != d.Port || c.AppRoot != d.AppRoot || c.WebServer != d.WebServer {
			t.Errorf("not the defaults: %+v %+v", c.Web, c.State)
		}
	}
}

func TestInitFile_ForDevelopmentStaysInItsFolder(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"/tmp/a dev: folder", "./dev"} {
		c, w := mustParse(t, string(InitFile(InitOptions{PSK: NewPSK(), EncryptionKey: NewEncryptionKey(), Dev: true, DevDir: dir})), nil)
		if len(w) != 0 {
			t.Errorf("warnings: %v", w)
		}
		clean := filepath.Clean(dir)
		for _, p := range []string{c.AppRoot, c.State.File.Path, c.Repo.Local.Path, c.TLS.Node.Certificate, c.TLS.Node.Key} {
			if !strings.HasPrefix(p, clean+"/") {
				t.Errorf("%s is not below %s", p, clean)
			}
		}
		if c.BindAddress != "127.0.0.1" || c.Web != (Web{"127.0.0.1:8080", "127.0.0.1:8443", 8443}) || c.Port != 2265 || c.NodeName != "dev" {
			t.Errorf("got %+v, port %d, name %s", c.Web, c.Port, c.NodeName)
		}
	}
}

func TestNewKeys_AreRandomAndLong(t *testing.T) {
	t.Parallel()
	if a, b := NewPSK(), NewPSK(); a == b || len(a) < 26 || !regexp.MustCompile(`^[A-Z2-7]+$`).MatchString(a) {
		t.Errorf("PSKs %d long", len(a))
	}
	a, b := NewEncryptionKey(), NewEncryptionKey()
	if raw, err := base64.StdEncoding.DecodeString(a); err != nil || len(raw) != 32 || a == b {
		t.Errorf("encryption key of %d bytes, %v", len(raw), err)
	}
}

func TestWriteInit_NeverOverwrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "node-config.yaml")
	if err := WriteInit(path, []byte("first")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	err = WriteInit(path, []byte("second"))
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("second: %v", err)
	}
	link := filepath.Join(filepath.Dir(path), "link")
	if err := os.Symlink(filepath.Join(filepath.Dir(path), "target"), link); err != nil {
		t.Fatal(err)
	}
	if err := WriteInit(link, []byte("x")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("through a dangling link: %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "first" {
		t.Errorf("the file is now %q, %v", data, err)
	}
}

// keyLine is a key of the sample that is commented out: text has a blank after its #.
var keyLine = regexp.MustCompile(`(?m)^( *)#([a-zA-Z])`)

func TestSample_ParsesAsItIsAndWithEveryKeySet(t *testing.T) {
	t.Parallel()
	want, w := mustParse(t, "", fullEnv())
	if len(w) != 0 {
		t.Errorf("warnings: %v", w)
	}
	want.File = "node-config.yaml"
	same := func(text string) []Warning {
		t.Helper()
		c, w := mustParse(t, text, fullEnv())
		if !reflect.DeepEqual(c, want) {
			t.Errorf("got\n%#v\nwant\n%#v", *c, *want)
		}
		return w
	}
	if w := same(string(Sample())); len(w) != 0 {
		t.Errorf("as it is: %v", w)
	}
	set := keyLine.ReplaceAllString(string(Sample()), "$1$2")
	if n := len(keyLine.FindAllString(string(Sample()), -1)); n != len(table()) {
		t.Errorf("%d keys in the sample, %d in the table", n, len(table()))
	}
	if strings.Contains(string(Sample()), "\t") {
		t.Error("a tab")
	}
	w = same(set)
	if !hasWarning(w, "acme.endpoint", "no effect yet") || hasWarning(w, "port:") {
		t.Errorf("with every key: %v", w)
	}
	// As it is, it lacks what has no default, and says so with the places.
	for _, f := range faultsOf(t, string(Sample()), nil) {
		if f.Key != "secretsEncryptionKey" && f.Key != "repo.type" && f.Key != "auth.psk.enabled" {
			t.Errorf("fault %v", f)
		}
	}
}

func TestMarkdownReference_HasEveryKey(t *testing.T) {
	t.Parallel()
	text := MarkdownReference()
	for _, d := range Keys() {
		if !strings.Contains(text, "\n| `"+d.Name+"` |") {
			t.Errorf("no row for %s", d.Name)
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if cells := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"); strings.HasPrefix(line, "| `") && cells != 6 && cells != 3 {
			t.Errorf("%d bars in %s", cells, line)
		}
	}
}
