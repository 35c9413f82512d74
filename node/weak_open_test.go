package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/bundle"
	"statiko/state"
)

// slowRepository makes fetching take until it is released.
type slowRepository struct {
	bundle.Repository
	asked, release chan struct{}
}

func (s *slowRepository) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, bundle.Meta, error) {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	select {
	case <-s.release:
	case <-ctx.Done():
		return nil, bundle.Meta{}, ctx.Err()
	}
	return s.Repository.Open(ctx, name, offset)
}

// Weakness W30: changes waited for a running sync, with a slow repository for as long as that was slow.
func TestW30_ChangesDoNotWaitForTheRepository(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("slow.test")
	n.addSite("quick.test")
	n.upload("slow", map[string]string{"index.html": "slow"})
	n.upload("quick", map[string]string{"index.html": "quick"})
	n.deploy("slow.test", "slow")
	n.stop()
	n.ok(os.RemoveAll(filepath.Join(n.dir, "data/apps")))

	made, err := New(testConfig(t, n.dir), Options{})
	n.ok(err)
	slow := &slowRepository{Repository: made.library.Repository, asked: make(chan struct{}, 1), release: make(chan struct{})}
	made.library.Repository = slow
	n = launch(t, made, n.dir, nil)
	select {
	case <-slow.asked:
	case <-time.After(patience):
		t.Fatal("the repository is not asked")
	}
	began := time.Now()
	n.addSite("new.test") // and it is served
	n.upload("new", map[string]string{"index.html": "new"})
	n.deploy("new.test", "new")
	n.want("new.test", "/", "new")
	_, err = n.client.ChangeSite(n.ctx(), "slow.test", api.SiteChange{Aliases: &[]string{"alias.test"}})
	n.ok(err)
	n.ok(n.client.Sync(n.ctx()))
	n.ok(n.client.DeleteSite(n.ctx(), "quick.test"))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("changes took %v while the repository was slow", took)
	}
	if h := n.health("slow.test"); !strings.Contains(h, "is being unpacked") {
		t.Errorf("health of the site that waits: %s", h)
	}
	close(slow.release)
	n.eventually(func() error { return n.serves("slow.test", "slow") })
}

var privateKey = regexp.MustCompile(`BEGIN [A-Z ]*PRIVATE KEY`)

// Weakness W52: private keys and the state were readable by everybody.
func TestW52_KeysAndStateAreTheOwnersAlone(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	cert, key := selfSigned(t, "a.test")
	n.ok(n.client.ImportCertificate(n.ctx(), api.CertificateImport{Name: "a", Certificate: string(cert), Key: string(key)}))
	n.addSite("b.test")
	n.upload("app", map[string]string{"index.html": "public"})
	n.deploy("b.test", "app")
	check := func() {
		t.Helper()
		files, secrets := 0, 0
		n.ok(filepath.WalkDir(n.dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files++
			secret := privateKey.Match(data) || strings.HasPrefix(d.Name(), "state.json") || bytes.Contains(data, []byte(testPSK)) || bytes.Contains(data, []byte("cert/imported/"))
			if secret {
				secrets++
				if info.Mode().Perm()&0o077 != 0 {
					t.Errorf("%s has mode %v", path, info.Mode())
				}
			}
			if info.Mode().Perm()&0o022 != 0 {
				t.Errorf("others may write %s: %v", path, info.Mode())
			}
			return nil
		}))
		if files < 8 || secrets < 3 {
			t.Errorf("%d files, %d of them secret: this test misses something", files, secrets)
		}
	}
	check()
	n.stop()
	check()
	if bytes.Contains(mustRead(t, filepath.Join(n.dir, "state.json")), []byte("PRIVATE KEY")) {
		t.Error("the state has a key in plain text")
	}
	for _, e := range n.logs.All() {
		if text := fmt.Sprint(e.Message, e.ContextMap()); privateKey.MatchString(text) || strings.Contains(text, testPSK) || strings.Contains(text, testKey) {
			t.Errorf("the log has a secret: %s", text)
		}
	}
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Weakness W54: everybody could have all sites looked at again, also through the web server's ports.
func TestW54_StrangersCannotForceALook(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("a.test")
	before := n.reconciler.Status().LastSync
	stranger, err := api.New(api.Options{BaseURL: n.URL(), Pin: n.Pin()})
	n.ok(err)
	defer stranger.Close()
	s, err := stranger.Status(n.ctx(), "", true)
	if err != nil || len(s.Health) != 1 || s.Health[0].Domain == "a.test" {
		t.Errorf("a stranger sees %+v, %v", s, err)
	}
	for _, header := range []string{"X: y", "Authorization: " + testPSK} {
		if p := n.get("unknown.test", "/status?force=1", header); p.status != 200 || strings.Contains(p.body, `"a.test"`) {
			t.Errorf("through the web server, with %q: %d %s", header, p.status, p.body)
		}
	}
	n.ok(n.client.Sync(n.ctx(), api.Wait(patience))) // so that a look that was asked for before has begun
	first := n.reconciler.Status().LastSync
	if _, err := n.client.Status(n.ctx(), "", true); err != nil {
		t.Error(err)
	}
	if now := n.reconciler.Status().LastSync; !now.After(first) || !first.After(before) {
		t.Errorf("the authenticated can: looked at %v, then %v, then %v", before, first, now)
	}
}

// Weakness W55: every certificate had the serial number 1, so that browsers refused renewed ones.
func TestW55_SerialsDifferFromCertificateToCertificate(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	seen := map[string]string{}
	for i := range 3 {
		name := "a.test"
		n.addSite(name, fmt.Sprintf("alias%d.test", i))
		leaf := n.get(name, "/").tls.PeerCertificates[0]
		serial := leaf.SerialNumber.String()
		if was := seen[serial]; was != "" || leaf.SerialNumber.BitLen() < 64 {
			t.Errorf("the serial number %s, of %d bits, was that of %s", serial, leaf.SerialNumber.BitLen(), was)
		}
		seen[serial] = fmt.Sprint(name, i)
		n.ok(n.client.DeleteSite(n.ctx(), name, api.Wait(patience)))
		n.h2.CloseIdleConnections()
	}
}

// The API was closed until the first sync had ended, for seconds a site. Here it answers at once, and says how far
// the node is.
func TestStart_APIIsOpenBeforeTheFirstSyncEnds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const sites = 3000
	var doc strings.Builder
	doc.WriteString(`{"sites":[`)
	for i := range sites {
		if i > 0 {
			doc.WriteByte(',')
		}
		fmt.Fprintf(&doc, `{"domain":"s%d.test","aliases":null,"tls":{"type":"selfsigned"},"app":null}`, i)
	}
	doc.WriteString("]}")
	writeFile(t, filepath.Join(dir, "state.json"), doc.String())
	began := time.Now()
	n := start(t, dir)
	s, err := n.client.Status(n.ctx(), "", false)
	n.ok(err)
	took := time.Since(began)
	t.Logf("the API answered %v after the start, with %d sites of which none had a certificate", took, len(s.Health))
	if !s.Sync.Running || len(s.Health) != sites || s.Sync.LastSync.IsZero() {
		t.Errorf("running=%t, %d sites, last sync %v", s.Sync.Running, len(s.Health), s.Sync.LastSync)
	}
	unhealthy := 0
	for _, h := range s.Health {
		if !h.Healthy {
			unhealthy++
		}
	}
	if unhealthy == 0 {
		t.Error("the first sync had ended already: nothing was shown")
	}
	// What is added now is stored now, and a node that is stopped meanwhile stops soon.
	if _, err := n.client.CreateSite(n.ctx(), api.SiteCreate{Domain: "new.test"}); err != nil {
		t.Error(err)
	}
	stopping := time.Now()
	n.stop()
	if took := time.Since(stopping); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

// A handler of the API answers on the web port only where it should: a site's own /status is the site's.
func TestNode_PublicRoutesAreThoseOfUnknownHosts(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("a.test")
	n.upload("app", map[string]string{"index.html": "x"})
	n.deploy("a.test", "app")
	if p := n.get("a.test", "/status"); p.status != http.StatusNotFound {
		t.Errorf("/status of a site is %d %.80s", p.status, p.body)
	}
	for _, path := range []string{"/site", "/state", "/app", "/sync", "/statusfoo"} {
		p, err := fetch(n.h2, "unknown.test", path, "Authorization: "+testPSK)
		if err == nil && p.status == http.StatusOK {
			err = errors.New(p.body)
		}
		if err != nil {
			t.Errorf("%s on the web port: %v", path, err)
		}
	}
}

// Weakness W47: names with ../ reached paths.
func TestW47_NamesNeverReachPaths(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	secretFile := filepath.Join(n.dir, "outside/index.html")
	writeFile(t, secretFile, "outside")
	for _, app := range []string{"../../../etc", "../outside", "..", "a/b", "a/../../outside"} {
		if _, err := n.client.CreateSite(n.ctx(), api.SiteCreate{Domain: "evil.test", App: &api.SiteApp{Name: app}}); !errors.Is(err, state.ErrInvalid) {
			t.Errorf("POST /site with the bundle %q: %v", app, err)
		}
		doc := fmt.Sprintf(`{"sites":[{"domain":"evil.test","app":{"name":%q}}]}`, app)
		if err := n.setState(doc); !errors.Is(err, state.ErrInvalid) {
			t.Errorf("a document with the bundle %q: %v", app, err)
		}
		if err := n.client.UploadApp(n.ctx(), app, "zip", strings.NewReader(string(zipOf(t, map[string]string{"a": "b"}))), nil); !errors.Is(err, state.ErrInvalid) {
			t.Errorf("uploading %q: %v", app, err)
		}
	}
	for _, domain := range []string{"../../x", "a/../../b.test", "x\x00.test", ".."} {
		doc := document{"sites": []any{document{"domain": domain}}}
		if err := n.setState(doc.text(t)); !errors.Is(err, state.ErrInvalid) {
			t.Errorf("a document with the domain %q: %v", domain, err)
		}
	}
	if data, err := os.ReadFile(secretFile); err != nil || string(data) != "outside" {
		t.Errorf("the file outside: %q, %v", data, err)
	}
}
