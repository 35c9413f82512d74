package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoad_SearchOrder(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	named, system, dir := filepath.Join(root, "named"), filepath.Join(root, "etc"), filepath.Join(root, "cwd")
	for _, d := range []string{named, system, dir} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := func(name string) string { return strings.Replace(minimal, "edge-1.example.org", name, 1) }
	// Each step adds a file that must win over those before.
	for _, step := range []struct {
		dir, file  string
		production bool
	}{
		{dir, "node-config.json", false}, {dir, "node-config.yml", false}, {dir, "node-config.yaml", false},
		{system, "node-config.json", true}, {system, "node-config.yaml", true},
		{named, "node-config.json", true}, {named, "node-config.yml", false}, {named, "node-config.yaml", true},
	} {
		want := write(t, step.dir, step.file, text("n"+fmt.Sprint(len(step.dir))+step.file))
		c, _, err := Load(Options{Env: lookup(map[string]string{"CONFIG_FILE_PATH": named}), Dir: dir, SystemDir: system, Production: step.production})
		if err != nil {
			t.Fatalf("with %s: %v", want, err)
		}
		if c.File != want {
			t.Errorf("read %s, want %s", c.File, want)
		}
	}
}

func TestLoad_ProductionLeavesTheCurrentFolderOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "node-config.yaml", minimal)
	o := Options{Dir: dir, SystemDir: t.TempDir(), Env: lookup(fullEnv())}
	if c, _, err := Load(o); err != nil || c.File == "" {
		t.Fatalf("in development: file %v, error %v", c, err)
	}
	o.Production = true
	if c, _, err := Load(o); err != nil || c.File != "" || c.NodeName != "from-env" {
		t.Fatalf("in production: %v, error %v", c, err)
	}
	for _, tt := range []struct {
		env, built string
		want       bool
	}{{"", "", false}, {"", "production", true}, {"development", "production", false}, {"production", "", true}} {
		if got := IsProduction(lookup(map[string]string{"GO_ENV": tt.env}), tt.built); got != tt.want {
			t.Errorf("GO_ENV=%q, built %q: %v", tt.env, tt.built, got)
		}
	}
}

func TestW69_EnvironmentAloneIsEnough(t *testing.T) {
	t.Parallel()
	c, w, err := Load(Options{Env: lookup(fullEnv()), Production: true, SystemDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if len(w) != 0 {
		t.Errorf("warnings %v", w)
	}
	if c.File != "" || c.Repo.Local.Path != "/srv/statiko-repo" || !c.Auth.PSK.Enabled || c.SecretsEncryptionKey != testKey {
		t.Errorf("got %+v", *c)
	}
}

func TestW69_NothingAtAllNamesAllThatIsMissing(t *testing.T) {
	t.Parallel()
	_, _, err := Load(Options{Production: true, SystemDir: t.TempDir(), Hostname: "h"})
	var faults *FaultsError
	if !errors.As(err, &faults) || len(faults.Faults) != 3 {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"secretsEncryptionKey: is required", "auth.psk.enabled: no method of authentication", "repo.type: is required", "statiko init"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
}

func TestLoad_FileTrouble(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := write(t, dir, "some.conf", minimal)
	if c, _, err := Load(Options{Path: file}); err != nil || c.File != file {
		t.Errorf("an explicit file of any name: %v, %v", c, err)
	}
	_, _, err := Load(Options{Path: filepath.Join(dir, "absent.yaml"), Env: lookup(fullEnv())})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "absent.yaml") || !strings.Contains(err.Error(), "statiko init") {
		t.Errorf("an explicit file that is missing: %v", err)
	}
	if _, _, err := Load(Options{Path: dir}); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder: %v", err)
	}
	env := fullEnv()
	env["CONFIG_FILE_PATH"] = file
	if _, _, err := Load(Options{Env: lookup(env), SystemDir: dir}); err == nil || !strings.Contains(err.Error(), "CONFIG_FILE_PATH") {
		t.Errorf("CONFIG_FILE_PATH is a file: %v", err)
	}
	env["CONFIG_FILE_PATH"] = t.TempDir()
	_, w, err := Load(Options{Env: lookup(env), SystemDir: t.TempDir(), Production: true})
	if err != nil || !hasWarning(w, "CONFIG_FILE_PATH", "looking elsewhere") {
		t.Errorf("CONFIG_FILE_PATH without a file: %v, %v", w, err)
	}
	big := write(t, dir, "big.yaml", "#"+strings.Repeat("x", maxFileSize))
	if _, _, err := Load(Options{Path: big}); err == nil || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("a huge file: %v", err)
	}
}

func TestLoad_WarnsOfSecretsThatOthersCanRead(t *testing.T) {
	t.Parallel()
	file := write(t, t.TempDir(), "c.yaml", minimal)
	if _, w, err := Load(Options{Path: file}); err != nil || len(w) != 0 {
		t.Fatalf("mode 0600: %v, %v", w, err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, w, err := Load(Options{Path: file}); err != nil || !hasWarning(w, "every user", "auth.psk.key", "secretsEncryptionKey", "chmod 600") {
		t.Fatalf("mode 0644: %v, %v", w, err)
	}
}

func TestLoad_ReadsJSON(t *testing.T) {
	t.Parallel()
	text := "{\n\t\"auth\": {\"psk\": {\"enabled\": true, \"key\": \"0123456789\\u0061bcdef\"}},\n\t\"secretsEncryptionKey\": \"" + testKey +
		"\",\n\t\"port\": 1234,\n\t\"repo\": {\"type\": \"file\", \"local\": {\"path\": \"\\/srv\\/r\"}},\n\t\"cors\": {\"origins\": [\"https://a.example\"]}\n}\n"
	c, _, err := Load(Options{Path: write(t, t.TempDir(), "node-config.json", text), Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Port != 1234 || c.Repo.Type != "local" || c.Repo.Local.Path != "/srv/r" || c.Auth.PSK.Key != "0123456789abcdef" || len(c.CORS.Origins) != 1 {
		t.Errorf("got port %d, repo %+v, origins %v", c.Port, c.Repo, c.CORS.Origins)
	}
}

func TestLoad_EnvironmentWinsOverFileOverDefault(t *testing.T) {
	t.Parallel()
	text := minimal + "port: 1111\nlog: {level: warn}\nmanifest: {allowProxy: [a.example, 'b.example:80']}\ncors:\n  origins: https://a.example, https://b.example\n"
	c, _ := mustParse(t, text, nil)
	if c.Port != 1111 || c.Log.Level != "warn" || len(c.Manifest.AllowProxy) != 2 || len(c.CORS.Origins) != 2 || c.Web.HTTPSAddress != ":443" {
		t.Errorf("file: %+v", c)
	}
	c, _ = mustParse(t, text, map[string]string{"PORT": "2222", "LOG_LEVEL": "", "MANIFEST_ALLOW_PROXY": "c.example", "STATE_STORE": "file"})
	if c.Port != 2222 || c.Log.Level != "warn" || len(c.Manifest.AllowProxy) != 1 || c.Manifest.AllowProxy[0] != "c.example" {
		t.Errorf("environment: port %d, level %s, proxy %v", c.Port, c.Log.Level, c.Manifest.AllowProxy)
	}
	// What the file asks for and the environment overrides is not judged.
	mustParse(t, minimal+"state: {store: etcd}\n", map[string]string{"STATE_STORE": "file"})
}

func TestConfig_PrintsNoSecret(t *testing.T) {
	t.Parallel()
	c, _ := mustParse(t, minimal, nil)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{c, *c} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, testKey) || strings.Contains(s, "0123456789abcdef") {
				t.Errorf("%s shows secrets: %s", verb, s)
			}
		}
	}
}
