package reconcile

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"statiko/bundle"
	"statiko/filestore"
	"statiko/secret"
	"statiko/state"
	"statiko/webserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testPatience is how long tests wait for what takes milliseconds on an idle machine.
const testPatience = 20 * time.Second

// recorder is a web server that remembers what it serves, and fails as it is told. It refuses names that another
// site has, unless that site gives them up in the same call.
type recorder struct {
	webserver.None
	mu      sync.Mutex
	served  map[string]*webserver.Site
	owner   map[string]string
	refused map[string]error
	down    error
	// calls has the number of changes of each call.
	calls []int
}

func newRecorder() *recorder {
	return &recorder{served: map[string]*webserver.Site{}, owner: map[string]string{}, refused: map[string]error{}}
}

func (s *recorder) Apply(_ context.Context, changes []webserver.Change) (map[string]error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, len(changes))
	if s.down != nil {
		return nil, s.down
	}
	failed := map[string]error{}
	for _, c := range changes {
		if err := s.refused[c.Domain]; err != nil {
			failed[c.Domain] = err
			continue
		}
		for name, domain := range s.owner {
			if domain == c.Domain {
				delete(s.owner, name)
			}
		}
	}
	for _, c := range changes {
		if failed[c.Domain] != nil {
			continue
		}
		if c.Site == nil {
			delete(s.served, c.Domain)
			continue
		}
		names := append([]string{c.Domain}, c.Site.Aliases...)
		for _, n := range names {
			if o, taken := s.owner[n]; taken && o != c.Domain {
				failed[c.Domain] = fmt.Errorf("the name %s belongs to %s", n, o)
			}
		}
		if failed[c.Domain] != nil {
			continue // what it had is gone in this simple server: only its refusal matters to the tests
		}
		for _, n := range names {
			s.owner[n] = c.Domain
		}
		s.served[c.Domain] = c.Site
	}
	return failed, nil
}

func (s *recorder) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// site, ownerOf and told look into it.
func (s *recorder) site(domain string) (site *webserver.Site) {
	s.set(func() { site = s.served[domain] })
	return site
}

func (s *recorder) ownerOf(name string) (domain string) {
	s.set(func() { domain = s.owner[name] })
	return domain
}

func (s *recorder) told() (calls []int) {
	s.set(func() { calls = slices.Clone(s.calls) })
	return calls
}

// word is what a site is served as, in one line, "" if it is not.
func (s *recorder) word(domain string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	site, ok := s.served[domain]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%v %.8s manifest=%t %.12x", site.Aliases, site.Version, site.Manifest != nil, site.Certificate.CertificatePEM)
}

func (s *recorder) words() map[string]string {
	s.mu.Lock()
	domains := slices.Collect(maps.Keys(s.served))
	s.mu.Unlock()
	all := map[string]string{}
	for _, d := range domains {
		all[d] = s.word(d)
	}
	return all
}

// world is a Reconciler with a real store, library and folders, and a recorder.
type world struct {
	t       testing.TB
	dir     string
	store   state.Store
	keyring *secret.Keyring
	library *bundle.Library
	server  *recorder
	r       *Reconciler
	stop    func()
}

// newWorld makes one in a new folder. It does not run.
func newWorld(t testing.TB, change ...func(*Options)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), server: newRecorder(), stop: func() {}}
	var err error
	if w.keyring, err = secret.NewKeyring("AAECAwQFBgcICQoLDA0ODw=="); err != nil {
		t.Fatal(err)
	}
	s, err := filestore.Open(filestore.Options{Path: filepath.Join(w.dir, "state.json"), KeyID: w.keyring.ID(), KnownKeyIDs: w.keyring.IDs()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.stop()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w.store = s
	local, err := bundle.OpenLocal(filepath.Join(w.dir, "repo"), nil)
	if err != nil {
		t.Fatal(err)
	}
	stager, err := bundle.NewStager(bundle.StagerOptions{Dir: filepath.Join(w.dir, "apps")})
	if err != nil {
		t.Fatal(err)
	}
	w.library = bundle.NewLibrary(bundle.LibraryOptions{
		KeepUnused: -1,
		Store:      s, Repository: local, Stager: stager, SpoolDir: filepath.Join(w.dir, "repo"), MaxUpload: 1 << 20, ManifestFile: "_statiko.yaml",
	})
	w.r = w.reconciler(w.server, change...)
	return w
}

// reconciler makes one more on the same state and folders.
func (w *world) reconciler(server webserver.Server, change ...func(*Options)) *Reconciler {
	o := Options{
		Store: w.store, Keyring: w.keyring, Bundles: w.library, Server: server, Dir: filepath.Join(w.dir, "served"),
		ManifestFile: "_statiko.yaml", Period: time.Hour,
	}
	for _, f := range change {
		f(&o)
	}
	return New(o)
}

// run runs the Reconciler until the test, or stop, ends.
func (w *world) run() {
	w.t.Helper()
	w.stop = run(w.t, w.r)
}

func run(t testing.TB, r *Reconciler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	w.t.Cleanup(cancel)
	return ctx
}

// change changes the state.
func (w *world) change(f func(*state.Draft) error) int64 {
	w.t.Helper()
	rev, err := w.store.Update(w.ctx(), f)
	if err != nil {
		w.t.Fatal(err)
	}
	return rev
}

// put stores sites with the certificates that they need.
func (w *world) put(sites ...*state.Site) int64 {
	w.t.Helper()
	return w.change(func(d *state.Draft) error {
		for _, s := range sites {
			s = s.Clone()
			if faults := s.Normalize(); len(faults) > 0 {
				return fmt.Errorf("%v", faults)
			}
			if err := errors.Join(d.Put(w.pair(s)), d.Put(s)); err != nil {
				return err
			}
		}
		return nil
	})
}

// pair is a certificate for a site: its text names what it is for, and nothing more.
func (w *world) pair(s *state.Site) *state.Secret {
	w.t.Helper()
	packed, err := secret.PackPair([]byte("key"), []byte(strings.Join(s.Names(), ",")))
	if err != nil {
		w.t.Fatal(err)
	}
	sealed, err := w.keyring.Seal(packed)
	if err != nil {
		w.t.Fatal(err)
	}
	return &state.Secret{Name: secret.PairName(state.PrefixSelfSigned, s.Domain, s.Aliases), Sealed: sealed}
}

// restore replaces the state by sites with certificates; bundles and other secrets are gone then.
func (w *world) restore(sites ...*state.Site) int64 {
	w.t.Helper()
	return w.restoreWith(sites, sites...)
}

// restoreWith is restore with certificates of some sites only.
func (w *world) restoreWith(paired []*state.Site, sites ...*state.Site) int64 {
	w.t.Helper()
	doc := map[string]any{}
	secrets, list := map[string]any{}, []any{}
	for _, s := range sites {
		list = append(list, s)
	}
	for _, s := range paired {
		p := w.pair(s)
		secrets[p.Name] = p.Sealed
	}
	doc["sites"], doc["secrets"] = list, secrets
	text, err := json.Marshal(doc)
	if err != nil {
		w.t.Fatal(err)
	}
	parsed, err := state.ParseDocument(text)
	if err != nil {
		w.t.Fatal(err)
	}
	rev, err := w.store.Restore(w.ctx(), parsed, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return rev
}

func newSite(domain string, aliases ...string) *state.Site {
	return &state.Site{Domain: domain, Aliases: aliases, TLS: &state.SiteTLS{Type: state.TLSSelfSigned}}
}

func newSiteWith(app, domain string, aliases ...string) *state.Site {
	s := newSite(domain, aliases...)
	s.App = &state.SiteApp{Name: app}
	return s
}

// upload stores a bundle with one page and, if it is not "", a manifest.
func (w *world) upload(name, page, manifest string) *state.App {
	w.t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	files := map[string]string{"index.html": page}
	if manifest != "" {
		files["_statiko.yaml"] = manifest
	}
	for _, f := range slices.Sorted(maps.Keys(files)) {
		out, err := z.Create(f)
		if err == nil {
			_, err = io.WriteString(out, files[f])
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		w.t.Fatal(err)
	}
	spool, err := w.library.Spool(w.ctx(), &b)
	if err != nil {
		w.t.Fatal(err)
	}
	defer spool.Discard()
	if _, err := w.library.Add(w.ctx(), spool, name, "zip", "", ""); err != nil {
		w.t.Fatal(err)
	}
	app, _ := w.store.Snapshot().App(name)
	return app
}

// served waits until the site is applied at the revision (0: the newest), and fails if it cannot be.
func (w *world) served(rev int64, domain string) {
	w.t.Helper()
	if rev == 0 {
		rev = w.store.Snapshot().Revision()
	}
	if err := w.r.Wait(w.ctx(), rev, domain); err != nil {
		w.t.Fatalf("%s is not served: %v; %+v", domain, err, w.r.Site(domain))
	}
}

// version fails unless the site serves the bundle.
func (w *world) version(domain string, app *state.App) {
	w.t.Helper()
	if word := w.server.word(domain); !strings.Contains(word, app.SHA256[:8]) {
		w.t.Errorf("%s is served as %q, not with %s %.8s", domain, word, app.Name, app.SHA256)
	}
}

// eventually waits until check returns nil, and fails with its last reason.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.Now().Add(testPatience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited for: %v", err)
		}
		time.Sleep(2 * time.Millisecond) // between looks
	}
}

func (w *world) staged(app *state.App) bool {
	_, err := os.Stat(filepath.Join(w.dir, "apps", app.SHA256, "bundle.json"))
	return err == nil
}
