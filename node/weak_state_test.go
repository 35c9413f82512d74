package node

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"statiko/api"
	"statiko/certs"
	"statiko/secret"
	"statiko/state"
)

// document is a state document that a test changes.
type document map[string]any

func (r *running) document() document {
	r.t.Helper()
	d := document{}
	r.ok(json.Unmarshal(r.state(), &d))
	return d
}

func (d document) site(domain string) map[string]any {
	for _, s := range d["sites"].([]any) {
		if m := s.(map[string]any); m["domain"] == domain {
			return m
		}
	}
	return nil
}

func (d document) text(t testing.TB) string {
	t.Helper()
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// editState changes the state file of a node that does not run.
func editState(t testing.TB, dir string, change func(document)) {
	t.Helper()
	path := filepath.Join(dir, "state.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := document{}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	change(d)
	writeFile(t, path, d.text(t))
}

// sealedPair seals a pair as the state holds it.
func sealedPair(t testing.TB, cert, key []byte) string {
	t.Helper()
	packed, err := secret.PackPair(key, cert)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := keyring(t).Seal(packed)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sealed)
}

func selfSigned(t testing.TB, names ...string) (cert, key []byte) {
	t.Helper()
	cert, key, err := certs.SelfSigned(certs.Request{Names: names})
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// Weakness W3 of the earlier program: of 200 sites added at once, the file had 198.
func TestW3_AcknowledgedIsInTheFile(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	const sites = 200
	var wg sync.WaitGroup
	for w := range 20 {
		wg.Go(func() {
			for i := range sites / 20 {
				if _, err := n.client.CreateSite(n.ctx(), api.SiteCreate{Domain: fmt.Sprintf("s%d-%d.test", w, i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	// What is on disk this very moment is what a power cut would leave.
	left := t.TempDir()
	for _, name := range []string{"state.json", "state.json.journal"} {
		data, err := os.ReadFile(filepath.Join(n.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(left, name), string(data))
	}
	after := start(t, left)
	if list, err := after.client.Sites(after.ctx()); err != nil || len(list) != sites {
		t.Errorf("the file has %d of %d sites, %v", len(list), sites, err)
	}
}

// Weakness W9: a document without sites or secrets wiped everything, the node's own certificate too.
func TestW9_RestoreOfHalfADocumentChangesNothing(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	cert, key := selfSigned(t, "bank.test")
	n.ok(n.client.ImportCertificate(n.ctx(), api.CertificateImport{Name: "bank", Certificate: string(cert), Key: string(key)}))
	_, err := n.client.CreateSite(n.ctx(), api.SiteCreate{Domain: "bank.test", TLS: &api.SiteTLS{Type: "imported", Certificate: "bank"}}, api.Wait(patience))
	n.ok(err)
	before := n.document()
	serial := n.get("bank.test", "/").tls.PeerCertificates[0].SerialNumber

	without := n.document()
	delete(without, "secrets")
	for name, doc := range map[string]string{"an empty object": `{}`, "no secrets": without.text(t)} {
		if err := n.setState(doc); !errors.Is(err, state.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := n.document(); after.text(t) != before.text(t) {
		t.Errorf("the state was changed to %s", after.text(t))
	}
	if p := n.get("bank.test", "/"); p.tls.PeerCertificates[0].SerialNumber.Cmp(serial) != 0 {
		t.Error("the site presents another certificate")
	}
	// The API's own certificate is no part of the state: a full restore leaves it.
	n.ok(n.setState(`{"sites":[]}`))
	if _, err := n.client.Sites(n.ctx()); err != nil {
		t.Errorf("the pin of the API: %v", err)
	}
}

// Weakness W11: aliases that were cleared came back.
func TestW11_ClearedAliasesStayClearedAfterARestart(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("a.test", "b.test")
	_, err := n.client.ChangeSite(n.ctx(), "a.test", api.SiteChange{Aliases: &[]string{}}, api.Wait(patience))
	n.ok(err)
	if p := n.get("b.test", "/"); p.status == 301 {
		t.Errorf("the cleared alias still redirects to %s", p.header.Get("Location"))
	}
	for _, bad := range [][]string{{"_default"}, {"c.test", "c.test"}, {"a.test"}} {
		if _, err := n.client.ChangeSite(n.ctx(), "a.test", api.SiteChange{Aliases: &bad}); !errors.Is(err, state.ErrInvalid) {
			t.Errorf("aliases %v: %v", bad, err)
		}
	}
	n.stop()
	n = start(t, n.dir)
	if s, err := n.client.Site(n.ctx(), "a.test"); err != nil || len(s.Aliases) != 0 {
		t.Errorf("after a restart: %+v, %v", s, err)
	}
}

// Weakness W13: any fault in the state or the bundles ended the process at each start, before its API opened. Here
// everything that can be faulty is, at once.
func TestW13_NodeComesUpWhateverIsBroken(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.upload("good", map[string]string{"index.html": "good"})
	for _, d := range []string{"good.test", "lost.test", "staged.test", "null.test", "sealed.test"} {
		n.addSite(d)
	}
	for _, app := range []string{"lost", "staged"} {
		n.upload(app, map[string]string{"index.html": app})
		n.deploy(app+".test", app)
	}
	n.deploy("good.test", "good")
	staged := map[string]string{}
	apps, err := n.client.Apps(n.ctx())
	n.ok(err)
	for _, a := range apps {
		staged[a.Name] = filepath.Join(n.dir, "data/apps", a.SHA256)
	}
	n.stop()

	// The archive and the folder of one bundle are gone, the other folder is damaged, and so are its records.
	for _, path := range []string{filepath.Join(n.dir, "repo/lost"), staged["lost"]} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(staged["staged"], "bundle.json"), "{")
	writeFile(t, filepath.Join(n.dir, "data/apps/.tmp-half/files/index.html"), "half")
	writeFile(t, filepath.Join(n.dir, "data/served/broken.json"), `{"domain":`)
	writeFile(t, filepath.Join(n.dir, "repo/junk"), "this is no archive")
	writeFile(t, filepath.Join(n.dir, "repo/.metadata.good"), `{"type":`)
	editState(t, n.dir, func(d document) {
		d.site("null.test")["tls"] = nil
		d["secrets"].(map[string]any)[secret.PairName(state.PrefixSelfSigned, "sealed.test", nil)] = "bm90IHNlYWxlZCB3aXRoIHRoaXMga2V5IGF0IGFsbA=="
		d["sites"] = append(d["sites"].([]any),
			map[string]any{"domain": "good.test"},
			map[string]any{"domain": "../../etc"},
			map[string]any{"domain": "alias.test", "aliases": []string{"good.test"}},
			map[string]any{"domain": "type.test", "tls": map[string]any{"type": "magic"}},
			map[string]any{"domain": "vault.test", "tls": map[string]any{"type": "akv", "cert": "c"}},
			map[string]any{"domain": "noapp.test", "tls": map[string]any{"type": "selfsigned"}, "app": map[string]any{"name": "never-uploaded"}},
			map[string]any{"domain": "nocert.test", "tls": map[string]any{"type": "imported", "cert": "nowhere"}})
	})

	n = start(t, n.dir)
	if _, err := n.client.Sites(n.ctx()); err != nil {
		t.Errorf("the API: %v", err)
	}
	n.eventually(func() error { return n.serves("good.test", "good") })
	n.eventually(func() error { return n.serves("staged.test", "staged") })
	for _, host := range []string{"null.test", "sealed.test", "vault.test"} {
		n.eventually(func() error {
			p, err := fetch(n.h2, host, "/")
			if err == nil && p.status != 200 {
				err = fmt.Errorf("%s: %d %s", host, p.status, n.health(host))
			}
			if err != nil {
				n.h2.CloseIdleConnections()
			}
			return err
		})
	}
	n.addSite("added.test")
	st, err := n.client.Status(n.ctx(), "", false)
	n.ok(err)
	var reasons []string
	for _, q := range st.Quarantine {
		reasons = append(reasons, q.Name+": "+q.Reason)
	}
	told := strings.Join(reasons, "\n")
	for _, h := range st.Health {
		told += fmt.Sprintf("\n%s: %t %s", h.Domain, h.Healthy, h.Error)
	}
	for _, want := range []string{"../../etc", "magic", "lost.test: false", "noapp.test", "nocert.test"} {
		if !strings.Contains(told, want) {
			t.Errorf("the status does not tell of %q:\n%s", want, told)
		}
	}
	// And it is repaired through the API.
	n.ok(n.client.DeleteSite(n.ctx(), "lost.test", api.Wait(patience)))
	n.ok(n.client.DeleteApp(n.ctx(), "lost"))
	n.upload("lost", map[string]string{"index.html": "found"})
	n.addSite("lost.test")
	n.deploy("lost.test", "lost")
	n.want("lost.test", "/", "found")
}

// Weakness W14: a bad manifest stopped every sync and kept the node from starting.
func TestW14_BadManifestTouchesOnlyItsSite(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("bad.test")
	n.addSite("good.test")
	n.upload("good", map[string]string{"index.html": "good"})
	n.upload("bad", map[string]string{"index.html": "bad", "_statiko.yaml": "rules: [\n"})
	n.deploy("good.test", "good")
	if err := n.client.Deploy(n.ctx(), "bad.test", "bad"); !errors.Is(err, state.ErrInvalid) || !strings.Contains(err.Error(), "_statiko.yaml") && !strings.Contains(err.Error(), "line") {
		t.Errorf("deploying it: %v", err)
	}
	d := n.document()
	d.site("bad.test")["app"] = map[string]any{"name": "bad"}
	n.ok(n.setState(d.text(t), api.Wait(patience)))
	for range 2 {
		n.settled()
		if h := n.health("bad.test"); !strings.HasPrefix(h, "503 healthy=false") {
			t.Errorf("the bad site: %s", h)
		}
		n.eventually(func() error { return n.serves("good.test", "good") })
		n.addSite("new.test")
		n.ok(n.client.DeleteSite(n.ctx(), "new.test", api.Wait(patience)))
		n.stop()
		n = start(t, n.dir)
	}
}

// Weakness W16: a site without TLS member ended the process, again at each start.
func TestW16_RestoredSiteWithoutTLSIsServed(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.ok(n.setState(`{"sites":[{"domain":"x.test"},{"domain":"y.test","tls":null},{"domain":"v.test","tls":{"type":"akv","cert":"c"}}]}`, api.Wait(patience)))
	for range 2 {
		for _, host := range []string{"x.test", "y.test", "v.test"} {
			n.eventually(func() error {
				p, err := fetch(n.h2, host, "/")
				if err == nil {
					err = p.tls.PeerCertificates[0].VerifyHostname(host)
				}
				n.h2.CloseIdleConnections()
				return err
			})
		}
		n.stop()
		n = start(t, n.dir)
	}
}

// Weakness W18: a key that does not match made all later syncs fail, and new sites were blamed and removed.
func TestW18_MismatchedPairInTheStateTouchesOnlyItsSite(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	cert, key := selfSigned(t, "pair.test")
	_, otherKey := selfSigned(t, "pair.test")
	n.ok(n.client.ImportCertificate(n.ctx(), api.CertificateImport{Name: "pair", Certificate: string(cert), Key: string(key)}))
	_, err := n.client.CreateSite(n.ctx(), api.SiteCreate{Domain: "pair.test", TLS: &api.SiteTLS{Type: "imported", Certificate: "pair"}}, api.Wait(patience))
	n.ok(err)
	if err := n.client.ImportCertificate(n.ctx(), api.CertificateImport{Name: "pair", Certificate: string(cert), Key: string(otherKey), Force: true}); !errors.Is(err, state.ErrInvalid) {
		t.Errorf("importing a key that does not match: %v", err)
	}
	d := n.document()
	d["secrets"].(map[string]any)["cert/imported/pair"] = sealedPair(t, cert, otherKey)
	n.ok(n.setState(d.text(t)))
	n.settled()
	if h := n.health("pair.test"); !strings.HasPrefix(h, "503 healthy=false") || !strings.Contains(h, "pair") {
		t.Errorf("health: %s", h)
	}
	if p := n.get("pair.test", "/"); p.status != 200 {
		t.Errorf("the last good pair is kept: %d", p.status)
	}
	n.addSite("new.test")
	n.stop()
	n = start(t, n.dir)
	n.addSite("newer.test")
	// Repaired by importing the right one.
	n.ok(n.client.ImportCertificate(n.ctx(), api.CertificateImport{Name: "pair", Certificate: string(cert), Key: string(key)}, api.Wait(patience)))
	if p := n.get("pair.test", "/"); p.status != 200 {
		t.Errorf("after the repair: %d", p.status)
	}
}

// Weakness W28: with a bad key, or without the state's folder, a start hung silently.
func TestW28_FaultsAtStartAreErrorsAtOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ change, want string }{
		"state folder missing": {"DIR/state.json=>DIR/nowhere/state.json", "state.file.path"},
		"state is a folder":    {"DIR/state.json=>DIR", "state.file.path"},
		"appRoot is a file":    {"DIR/data=>DIR/file", "appRoot"},
		"repository is a file": {"DIR/repo=>DIR/file", "repo.local.path"},
	} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "file"), "")
		began := time.Now()
		n, err := New(testConfig(t, dir, test.change), Options{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: the error came after %v", name, took)
		}
		if n != nil {
			t.Errorf("%s: a node was made", name)
		}
	}
	// Another key: the state is left as it is.
	n := start(t, t.TempDir())
	n.addSite("a.test")
	n.stop()
	if _, err := New(testConfig(t, n.dir, testKey+"=>BBECAwQFBgcICQoLDA0ODw=="), Options{}); !errors.Is(err, state.ErrForeignKey) {
		t.Errorf("another key: %v", err)
	}
}
