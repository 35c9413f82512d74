package migrate

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"statiko/etcdclient"
	"statiko/etcdstore"
	"statiko/filestore"
	"statiko/secret"
	"statiko/state"
	"statiko/test/etcdtest"
)

func TestMain(m *testing.M) {
	if childMain() {
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	keyA = "AAECAwQFBgcICQoLDA0ODw=="
	keyB = "Dw4NDAsKCQgHBgUEAwIBAA=="
)

// earlier is a state document of the earlier program, with a secret that keyA opens.
const earlier = `{"sites":[
  {"domain":"docs.example.org","aliases":["www.docs.example.org"],"tls":{"type":"imported","cert":"wildcard-2020"},"app":{"name":"docs-41"}},
  {"domain":"wildly-happy-otter-512.preview.example.org","aliases":null,"temporary":true,"tls":{"type":"selfsigned"},"app":null},
  {"domain":"Old.example.org","aliases":null,"tls":null,"app":null}],
 "secrets":{"cert/imported/wildcard-2020":"ZGVmZ2hpamtsbW5vGWJOpd0CuPrQew5Tw5h/pXacSiCFHaRdpG36YyVco+jY"},
 "dhparams":{"time":"2020-06-02T03:04:05Z","pem":"-----BEGIN DH PARAMETERS-----\nMAA=\n-----END DH PARAMETERS-----\n"}}`

func ring(t testing.TB, keys ...string) *secret.Keyring {
	t.Helper()
	k, err := secret.NewKeyring(keys[0], keys[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// filePlace is a place in a new folder.
func filePlace(t testing.TB, keys ...string) Place {
	t.Helper()
	if len(keys) == 0 {
		keys = []string{keyA}
	}
	return Place{File: filepath.Join(t.TempDir(), "state.json"), Keyring: ring(t, keys...), Repository: "local /srv/repo"}
}

var prefixes atomic.Int64

// etcdPlaceOn is a place of its own on the server.
func etcdPlaceOn(t testing.TB, c *etcdtest.Cluster, keys ...string) Place {
	t.Helper()
	if len(keys) == 0 {
		keys = []string{keyA}
	}
	return Place{
		Etcd: Etcd{Client: etcdclient.Options{Endpoints: c.Endpoints(), Timeout: 5 * time.Second},
			Prefix: fmt.Sprintf("/test-%d", prefixes.Add(1)), NodeName: "edge-1"},
		Keyring: ring(t, keys...), Repository: "local /srv/repo",
	}
}

// store opens the place as a node does.
func store(t testing.TB, p Place) state.Store {
	t.Helper()
	var s state.Store
	if p.File != "" {
		f, err := filestore.Open(filestore.Options{Path: p.File, KeyID: p.Keyring.ID(), KnownKeyIDs: p.Keyring.IDs()})
		if err != nil {
			t.Fatal(err)
		}
		s = f
	} else {
		client, err := etcdclient.Open(p.Etcd.Client)
		if err != nil {
			t.Fatal(err)
		}
		e, err := etcdstore.Open(etcdstore.Options{Client: client, Prefix: p.Etcd.Prefix, NodeName: p.Etcd.NodeName,
			KeyID: p.Keyring.ID(), KnownKeyIDs: p.Keyring.IDs()})
		if err != nil {
			t.Fatal(err)
		}
		s = closeBoth{e, client}
		t.Cleanup(func() { _ = s.Close() })
		awaitHealthy(t, e)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

type closeBoth struct {
	*etcdstore.Store
	client *etcdclient.Client
}

func (c closeBoth) Close() error {
	err := c.Store.Close()
	if closeErr := c.client.Close(); err == nil {
		err = closeErr
	}
	return err
}

func awaitHealthy(t testing.TB, s state.Store) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !s.Health().Healthy; {
		if time.Now().After(end) {
			t.Fatalf("the store takes no changes: %s", s.Health().Reason)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// put stores objects at the place.
func put(t testing.TB, p Place, objects ...state.Object) {
	t.Helper()
	s := store(t, p)
	defer s.Close()
	putInto(t, s, objects...)
}

func putInto(t testing.TB, s state.Store, objects ...state.Object) {
	t.Helper()
	_, err := s.Update(context.Background(), func(d *state.Draft) error {
		for _, o := range objects {
			if err := d.Put(o); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func site(domain string, aliases ...string) *state.Site {
	return &state.Site{Domain: domain, Aliases: aliases, TLS: &state.SiteTLS{Type: state.TLSSelfSigned}}
}

// full is a state with objects of every kind that a document has.
func full(t testing.TB, k *secret.Keyring) []state.Object {
	t.Helper()
	sealed := func(text string) []byte {
		b, err := k.Seal([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	imported := site("docs.example.org", "www.docs.example.org")
	imported.TLS = &state.SiteTLS{Type: state.TLSImported, Certificate: "wild"}
	imported.App = &state.SiteApp{Name: "docs-41"}
	return []state.Object{
		&state.App{Name: "docs-41", Type: "tar.gz", Size: 7, SHA256: strings.Repeat("ab", 32), Uploaded: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		&state.Secret{Name: "cert/imported/wild", Sealed: sealed("pair")},
		&state.Secret{Name: "cert/selfsigned/0123456789abcde", Sealed: sealed("other pair")},
		&state.DHParams{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), PEM: "-----BEGIN DH PARAMETERS-----\n…\n"},
		imported, site("b.example.org"),
	}
}

// document returns what "state get" would.
func document(t testing.TB, p Place) string {
	t.Helper()
	s := store(t, p)
	defer s.Close()
	var b bytes.Buffer
	if err := s.Snapshot().WriteDocument(&b, state.DocumentOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// migrated runs a migration that must succeed with the result.
func migrated(t testing.TB, o Options, result string) *Report {
	t.Helper()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatalf("migrate from %s to %s: %v", o.From, o.To, err)
	}
	if r.Result != result {
		t.Fatalf("the result is %q, want %q: %+v", r.Result, result, r)
	}
	return r
}

// refused runs a migration that must be refused, with all parts in message and hint.
func refused(t testing.TB, o Options, parts ...string) {
	t.Helper()
	_, err := Run(t.Context(), o)
	var refusal *Refusal
	if err == nil || !asRefusal(err, &refusal) {
		t.Fatalf("migrate from %s to %s: not refused, but %v", o.From, o.To, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error()+"\n"+refusal.Hint, part) {
			t.Errorf("%q is not in %v (hint: %s)", part, err, refusal.Hint)
		}
	}
}

// files returns the content of all files in a folder but locks.
func files(t testing.TB, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".lock") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(b)
	}
	return all
}
