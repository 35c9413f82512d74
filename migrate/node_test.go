package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"statiko/api"
	"statiko/config"
	"statiko/filestore"
	"statiko/node"
	"statiko/state"
	"statiko/test/etcdtest"
)

// runningNode moves the state of a node that runs: it serves on, refuses changes, and stays frozen afterwards.
func runningNode(t *testing.T, c *etcdtest.Cluster) {
	dir := t.TempDir()
	text := fmt.Sprintf(`nodeName: edge-1
port: 0
bindAddress: 127.0.0.1
appRoot: %[1]s/data
auth: {psk: {enabled: true, key: pre-shared-key-of-the-tests}}
secretsEncryptionKey: %[2]s
state: {file: {path: %[1]s/state.json}}
repo: {type: local, local: {path: %[1]s/repo}}
webserver: none
`, dir, keyA)
	cfg, _, err := config.Parse("test.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(cfg, node.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	end := func() {
		stop()
		if err := errors.Join(<-done, n.Close()); err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(func() { stop(); <-done; _ = n.Close() })
	connect := func() (*api.Client, error) {
		return api.New(api.Options{BaseURL: n.URL(), Pin: n.Pin(), Token: "pre-shared-key-of-the-tests"})
	}
	client, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.CreateSite(t.Context(), api.SiteCreate{Domain: "a.example.org"}, api.Wait(patience)); err != nil {
		t.Fatal(err)
	}

	file, etcd := filePlace(t), etcdPlaceOn(t, c)
	file.File = filepath.Join(dir, "state.json")
	refused(t, Options{From: file, To: etcd}, "is in use", "stop the node")
	refused(t, Options{From: etcdWith(t, c), To: file, Replace: true}, "the target is in use")
	file.Connect = connect
	migrated(t, Options{From: file, To: etcd, DryRun: true}, ResultWould)

	// The copy fails: the node takes changes again at once.
	full := etcdWith(t, c)
	refused(t, Options{From: file, To: full}, "has a state already")
	if _, err := client.CreateSite(t.Context(), api.SiteCreate{Domain: "b.example.org"}); err != nil {
		t.Fatalf("after a migration that was refused: %v", err)
	}

	seen := false
	o := Options{From: file, To: etcd, after: func(step string) {
		if step != "copied" {
			return
		}
		seen = true
		_, err := client.CreateSite(t.Context(), api.SiteCreate{Domain: "c.example.org"})
		if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != api.CodeFrozen || e.RetryAfter < 1 {
			t.Errorf("a change of a frozen node: %v", err)
		}
		if sites, err := client.Sites(t.Context()); err != nil || len(sites) != 2 {
			t.Errorf("a frozen node answers %v, %v", sites, err)
		}
	}}
	var before bytes.Buffer
	awaitQuiet(t, client)
	if err := client.State(t.Context(), &before); err != nil {
		t.Fatal(err)
	}
	r := migrated(t, o, ResultMigrated)
	if !seen || !r.Frozen || !strings.Contains(strings.Join(r.Next, "\n"), "stop the node at "+client.Address()) {
		t.Errorf("report %+v", r)
	}
	if got := document(t, etcd); got != before.String() {
		t.Errorf("etcd has\n%s\nand the node had\n%s", got, before.String())
	}
	// It stays frozen, whoever asks, and says where the state is.
	for _, try := range []func() error{
		func() error { return client.DeleteSite(t.Context(), "a.example.org") },
		func() error { return client.Unfreeze(t.Context(), api.Unfreeze{Force: true}) },
		func() error { _, err := client.Freeze(t.Context(), api.Freeze{Seconds: 1}); return err },
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), etcd.String()) {
			t.Errorf("after the state was moved: %v", err)
		}
	}
	s, err := client.Status(t.Context(), "", false)
	if err != nil || s.Store.Healthy || !strings.Contains(s.Store.Reason, "was moved to") {
		t.Errorf("status %+v, %v", s, err)
	}
	migrated(t, Options{From: file, To: etcd}, ResultAlready)
	end()
	if _, err := node.New(cfg, node.Options{}); err == nil || !strings.Contains(err.Error(), etcd.String()) {
		t.Errorf("the node started again: %v", err)
	}
	if m, err := filestore.MovedFrom(file.File); err != nil || m == nil || m.Target != etcd.String() {
		t.Errorf("marker %v, %v", m, err)
	}
	migrated(t, Options{From: file, To: etcd}, ResultAlready)
	if _, err := os.Stat(file.File); err != nil {
		t.Error(err)
	}
}

// patience is how long tests wait for what takes milliseconds on an idle machine.
const patience = 20e9

// awaitQuiet waits until the node has made the certificates of its sites.
func awaitQuiet(t testing.TB, c *api.Client) {
	t.Helper()
	var last string
	for range 1000 {
		var b bytes.Buffer
		if err := c.State(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		if last = b.String(); strings.Count(last, state.PrefixSelfSigned) == 2 {
			return
		}
		if err := c.Sync(t.Context(), api.Wait(patience)); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("the certificates are not made: %s", last)
}

// etcdWith is a place in etcd that has a site.
func etcdWith(t testing.TB, c *etcdtest.Cluster) Place {
	t.Helper()
	p := etcdPlaceOn(t, c)
	put(t, p, site("x.example.org"))
	return p
}
