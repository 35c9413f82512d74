package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testKey = "AAECAwQFBgcICQoLDA0ODw=="

// minimal is the least that a node needs.
const minimal = `auth: {psk: {enabled: true, key: "0123456789abcdef0123"}}
secretsEncryptionKey: "AAECAwQFBgcICQoLDA0ODw=="
repo: {type: local, local: {path: /srv/statiko-repo}}
nodeName: edge-1.example.org
`

// fullEnv is the same in the environment.
func fullEnv() map[string]string {
	return map[string]string{
		"AUTH_PSK_ENABLED": "true", "AUTH_PSK_KEY": "0123456789abcdef0123", "SECRETS_ENCRYPTION_KEY": testKey,
		"REPO_TYPE": "local", "REPO_LOCAL_PATH": "/srv/statiko-repo", "NODE_NAME": "from-env",
	}
}

func lookup(m map[string]string) func(string) string {
	return func(name string) string { return m[name] }
}

func mustParse(t testing.TB, text string, env map[string]string) (*Config, []Warning) {
	t.Helper()
	c, w, err := Parse("node-config.yaml", []byte(text), lookup(env))
	if err != nil {
		t.Fatalf("parse:\n%v", err)
	}
	return c, w
}

// faultsOf parses text and returns its faults; there must be some.
func faultsOf(t testing.TB, text string, env map[string]string) []Fault {
	t.Helper()
	c, _, err := Parse("node-config.yaml", []byte(text), lookup(env))
	var faults *FaultsError
	if !errors.As(err, &faults) {
		t.Fatalf("error is %v, want faults", err)
	}
	if c != nil {
		t.Error("a faulty configuration was returned")
	}
	return faults.Faults
}

// one returns the only fault of minimal with text added.
func one(t testing.TB, text string) Fault {
	t.Helper()
	faults := faultsOf(t, minimal+text, nil)
	if len(faults) != 1 {
		t.Fatalf("%d faults, want 1: %v", len(faults), faults)
	}
	return faults[0]
}

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func hasWarning(ws []Warning, parts ...string) bool {
	for _, w := range ws {
		ok := true
		for _, p := range parts {
			ok = ok && strings.Contains(w.String(), p)
		}
		if ok {
			return true
		}
	}
	return false
}
