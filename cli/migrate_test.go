package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"statiko/api"
	"statiko/config"
	"statiko/filestore"
	"statiko/migrate"
	"statiko/node"
	"statiko/secret"
	"statiko/state"
)

const migrateKey = "AAECAwQFBgcICQoLDA0ODw=="

// writeConfig writes the configuration of a node below the folder, and returns its path.
func writeConfig(t testing.TB, dir, name, stateFile string, more ...string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	text := fmt.Sprintf(`nodeName: edge-1
bindAddress: 127.0.0.1
appRoot: %[1]s/data
auth: {psk: {enabled: true, key: pre-shared-key-of-the-tests}}
secretsEncryptionKey: %[2]s
state: {file: {path: %[1]s/%[3]s}}
repo: {type: local, local: {path: %[1]s/repo}}
webserver: none
%[4]s
`, dir, migrateKey, stateFile, strings.Join(more, "\n"))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fill writes a state with the sites.
func fill(t testing.TB, path string, domains ...string) {
	t.Helper()
	k, err := secret.NewKeyring(migrateKey)
	if err != nil {
		t.Fatal(err)
	}
	s, err := filestore.Open(filestore.Options{Path: path, KeyID: k.ID()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Update(context.Background(), func(d *state.Draft) error {
		for _, domain := range domains {
			if err := d.Put(&state.Site{Domain: domain, TLS: &state.SiteTLS{Type: state.TLSSelfSigned}}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// cliRun runs a command line, with answers on a terminal if there are any.
func cliRun(t testing.TB, want int, typed string, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := Run(t.Context(), args, Env{
		Stdin: strings.NewReader(typed), Stdout: &out, Stderr: &errs, Home: t.TempDir(), StdinTerminal: typed != "", StderrTerminal: typed != "",
		// What says where the state is does not count here; a node would read it.
		Getenv: func(name string) string {
			return map[string]string{"STATE_FILE_PATH": "/nowhere/state.json", "NO_COLOR": "1"}[name]
		},
	})
	if code != want {
		t.Fatalf("stkcli %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, &out, &errs)
	}
	return out.String(), errs.String()
}

func wantParts(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}

func TestMigrate_BetweenFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, to := writeConfig(t, dir, "from.yaml", "from.json"), writeConfig(t, dir, "to.yaml", "to.json")
	fill(t, filepath.Join(dir, "from.json"), "a.example.org", "b.example.org")
	command := []string{"state", "migrate", "--from", from, "--to", to}

	out, _ := cliRun(t, ExitOK, "", append(command, "--dry-run")...)
	wantParts(t, out, "it could be moved; nothing was changed", "Added:", "2 sites", "From:", "from.json")
	if _, err := os.Stat(filepath.Join(dir, "to.json")); err == nil {
		t.Error("a dry run began a state")
	}
	out, errs := cliRun(t, ExitOK, "", append(command, "--output", "json", "-v")...)
	var report migrate.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.Result != migrate.ResultMigrated || report.Objects["sites"] != 2 || len(report.Next) == 0 {
		t.Errorf("%v in %s", err, out)
	}
	wantParts(t, errs, "compared both: they are equal byte for byte")
	out, _ = cliRun(t, ExitOK, "", command...)
	wantParts(t, out, "it was moved before; nothing was changed")
	out, _ = cliRun(t, ExitOK, "", "state", "migrate", "--from", to, "--to", from)
	wantParts(t, out, "the state is moved", "Now:", "1. start the node with the target's configuration")
}

func TestMigrate_TargetWithStateIsReplacedOnlyIfMeant(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, to := writeConfig(t, dir, "from.yaml", "from.json"), writeConfig(t, dir, "to.yaml", "to.json")
	fill(t, filepath.Join(dir, "from.json"), "a.example.org")
	fill(t, filepath.Join(dir, "to.json"), "old.example.org")
	command := []string{"state", "migrate", "--from", from, "--to", to}
	_, errs := cliRun(t, ExitUser, "", command...)
	wantParts(t, errs, "[Error] could not move the state", "the target has a state already: 1 site", "hint: if what the target has may be lost, add --replace")
	_, errs = cliRun(t, ExitUser, "", append(command, "--replace")...)
	wantParts(t, errs, "nobody was there to confirm", "--yes")
	_, errs = cliRun(t, ExitUser, "no\n", append(command, "--replace")...)
	wantParts(t, errs, "old.example.org", "remove 1 of its sites? [y/N]", "nothing was changed")
	out, _ := cliRun(t, ExitOK, "y\n", append(command, "--replace")...)
	wantParts(t, out, "the state is moved", "what was there is kept as", "to.json.replaced-")
	fill(t, filepath.Join(dir, "to.json"), "c.example.org")
	if _, err := filestore.MovedFrom(filepath.Join(dir, "to.json")); err != nil {
		t.Error(err)
	}
}

func TestMigrate_FaultsOfConfigurations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from := writeConfig(t, dir, "from.yaml", "from.json")
	_, errs := cliRun(t, ExitUsage, "", "state", "migrate", "--from", from)
	wantParts(t, errs, `"to" not set`)
	_, errs = cliRun(t, ExitUser, "", "state", "migrate", "--from", filepath.Join(dir, "none.yaml"), "--to", from)
	wantParts(t, errs, "--from: the configuration cannot be used", "none.yaml")
	etcd := writeConfig(t, dir, "etcd.yaml", "x.json", "state.store: etcd")
	_, errs = cliRun(t, ExitUser, "", "state", "migrate", "--from", from, "--to", etcd)
	wantParts(t, errs, "--to:", "state.etcd.address", "is required")
	_, errs = cliRun(t, ExitUser, "", "state", "migrate", "--from", from, "--to", from)
	wantParts(t, errs, "source and target are the same")
	_, errs = cliRun(t, ExitUser, "", "state", "migrate", "--from", from, "--to", writeConfig(t, dir, "to.yaml", "to.json"))
	wantParts(t, errs, "there is no state in the file")
	fill(t, filepath.Join(dir, "from.json"), "a.example.org")
	etcd = writeConfig(t, dir, "etcd.yaml", "x.json", "state.store: etcd", "state.etcd: {address: 'http://127.0.0.1:1', timeout: 300}")
	_, errs = cliRun(t, ExitLocal, "", "state", "migrate", "--from", from, "--to", etcd)
	wantParts(t, errs, "could not move the state", "http://127.0.0.1:1", "connection refused")
	_, errs = cliRun(t, ExitLocal, "", "state", "migrate", "--from", from, "--to", etcd, "--output", "json")
	var shown struct{ Error, Cause string }
	if err := json.Unmarshal([]byte(errs), &shown); err != nil || shown.Error == "" || shown.Cause == "" {
		t.Errorf("%v in %s", err, errs)
	}
}

func TestMigrate_RunningNodeIsFoundAndFrozen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	from := writeConfig(t, dir, "from.yaml", "from.json", fmt.Sprintf("port: %d", port))
	to := writeConfig(t, dir, "to.yaml", "to.json")
	fill(t, filepath.Join(dir, "from.json"), "a.example.org")
	c, _, err := config.Load(config.Options{Path: from})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(c, node.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, n.Close()); err != nil {
			t.Error(err)
		}
	})
	client, err := localNode(c)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Sync(t.Context(), api.Wait(20e9)); err != nil {
		t.Fatal(err)
	}
	// Somebody else's key in the node's place: nothing is sent to it.
	other := writeConfig(t, t.TempDir(), "other.yaml", "other.json", fmt.Sprintf("port: %d", port))
	oc, _, err := config.Load(config.Options{Path: other})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := localNode(oc); err == nil || !strings.Contains(err.Error(), "its certificate cannot be read") {
		t.Errorf("a node without a certificate: %v", err)
	}

	out, _ := cliRun(t, ExitOK, "", "state", "migrate", "--from", from, "--to", to)
	wantParts(t, out, "the state is moved", fmt.Sprintf("1. stop the node at 127.0.0.1:%d", port), "2. start the node with the target's configuration")
	if err := client.DeleteSite(t.Context(), "a.example.org"); err == nil || !strings.Contains(err.Error(), "to.json") {
		t.Errorf("the node takes changes: %v", err)
	}
	if err := client.State(t.Context(), io.Discard); err != nil {
		t.Errorf("the node does not answer: %v", err)
	}
	out, _ = cliRun(t, ExitOK, "", "state", "migrate", "--from", from, "--to", to)
	wantParts(t, out, "it was moved before")
}
