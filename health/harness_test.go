package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"statiko/certs"
	"statiko/filestore"
	"statiko/reconcile"
	"statiko/secret"
	"statiko/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testKey = "AAECAwQFBgcICQoLDA0ODw=="

// testPatience is how long tests wait for what takes milliseconds on an idle machine.
const testPatience = 20 * time.Second

// world is a Prober with a real store and keyring, and a web server over real TLS that answers each host as it is
// told. What is applied is played.
type world struct {
	t       testing.TB
	store   *filestore.Store
	keyring *secret.Keyring
	prober  *Prober
	secure  *httptest.Server
	plain   *httptest.Server

	mu      sync.Mutex
	applied map[string]reconcile.Applied
	answers map[string]http.HandlerFunc
	pairs   map[string]*tls.Certificate
	// visits counts the requests by the host that they asked for.
	visits map[string]int
	// offered are the key agreements of the last visit, by the host.
	offered map[string][]tls.CurveID
}

func newWorld(t testing.TB, change func(*Options)) *world {
	t.Helper()
	w := &world{
		t: t, applied: map[string]reconcile.Applied{}, answers: map[string]http.HandlerFunc{},
		pairs: map[string]*tls.Certificate{}, visits: map[string]int{}, offered: map[string][]tls.CurveID{},
	}
	var err error
	w.keyring, err = secret.NewKeyring(testKey)
	w.must(err)
	w.store, err = filestore.Open(filestore.Options{Path: filepath.Join(t.TempDir(), "state.json"), KeyID: w.keyring.ID(),
		KnownKeyIDs: w.keyring.IDs()})
	w.must(err)
	t.Cleanup(func() { _ = w.store.Close() })
	silent := zap.NewNop()
	w.plain = httptest.NewUnstartedServer(http.HandlerFunc(w.answer))
	w.plain.Start()
	t.Cleanup(w.plain.Close)
	w.secure = httptest.NewUnstartedServer(http.HandlerFunc(w.answer))
	w.secure.Config.ErrorLog = zap.NewStdLog(silent)
	w.secure.TLS = &tls.Config{GetCertificate: w.certificate}
	w.secure.StartTLS()
	t.Cleanup(w.secure.Close)
	o := Options{
		Store: w.store, Keyring: w.keyring, Reconciler: w, HTTP: w.plain.Listener.Addr(), HTTPS: w.secure.Listener.Addr(),
		Timeout: testPatience,
	}
	if change != nil {
		change(&o)
	}
	w.prober, err = New(o)
	w.must(err)
	return w
}

// run runs the prober until the test ends.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.prober.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("run: %v", err)
		}
	})
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// add puts a site into the state, and what it presents, and has it served: answer nil is a page.
func (w *world) add(domain string, answer http.HandlerFunc, aliases ...string) {
	w.t.Helper()
	cert, key, err := certs.SelfSigned(certs.Request{Names: append([]string{domain}, aliases...)})
	w.must(err)
	packed, err := secret.PackPair(key, cert)
	w.must(err)
	sealed, err := w.keyring.Seal(packed)
	w.must(err)
	name := secret.PairName(state.PrefixSelfSigned, domain, aliases)
	revision, err := w.store.Update(context.Background(), func(d *state.Draft) error {
		site := &state.Site{Domain: domain, Aliases: aliases, TLS: &state.SiteTLS{Type: state.TLSSelfSigned}}
		return errors.Join(d.Put(&state.Secret{Name: name, Sealed: sealed}), d.Put(site))
	})
	w.must(err)
	pair, err := tls.X509KeyPair(cert, key)
	w.must(err)
	if answer == nil {
		answer = func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "welcome") }
	}
	w.set(func() {
		for _, n := range append([]string{domain}, aliases...) {
			w.answers[n], w.pairs[n] = answer, &pair
		}
		w.applied[domain] = reconcile.Applied{Site: revision, Pair: name, PairRevision: revision}
	})
	w.prober.Changed([]string{domain})
}

// putSites puts sites into the state, and nothing else.
func (w *world) putSites(domains []string) {
	w.t.Helper()
	for part := range slices.Chunk(domains, 40) { // what one transaction takes
		_, err := w.store.Update(context.Background(), func(d *state.Draft) error {
			for _, domain := range part {
				if err := d.Put(&state.Site{Domain: domain, TLS: &state.SiteTLS{Type: state.TLSSelfSigned}}); err != nil {
					return err
				}
			}
			return nil
		})
		w.must(err)
	}
}

// answerWith changes how a host answers; the site is not told of as changed.
func (w *world) answerWith(host string, answer http.HandlerFunc) {
	w.set(func() { w.answers[host] = answer })
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) answer(rw http.ResponseWriter, r *http.Request) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	var answer http.HandlerFunc
	w.set(func() { w.visits[host]++; answer = w.answers[host] })
	if r.TLS != nil && r.TLS.ServerName != host {
		w.t.Errorf("asked for %s with the server name %q", host, r.TLS.ServerName)
	}
	if answer == nil {
		http.NotFound(rw, r)
		return
	}
	answer(rw, r)
}

func (w *world) certificate(hello *tls.ClientHelloInfo) (pair *tls.Certificate, err error) {
	w.set(func() { pair, w.offered[hello.ServerName] = w.pairs[hello.ServerName], hello.SupportedCurves })
	if pair == nil {
		err = errors.New("no certificate")
	}
	return pair, err
}

func (w *world) visited(host string) (n int) {
	w.set(func() { n = w.visits[host] })
	return n
}

// Site and Served are the Reconciler's: everything is applied well.
func (w *world) Site(domain string) reconcile.SiteStatus {
	_, ok := w.Served(domain)
	return reconcile.SiteStatus{Domain: domain, Healthy: ok, Time: time.Unix(1_600_000_000, 0)}
}

func (w *world) Served(domain string) (a reconcile.Applied, ok bool) {
	w.set(func() { a, ok = w.applied[domain] })
	return a, ok
}

// settled waits until nothing is pending, and returns how a site is then.
func (w *world) settled(domain string) reconcile.SiteStatus {
	w.t.Helper()
	w.eventually(func() error {
		if w.prober.Pending() {
			return errors.New("something is pending")
		}
		return nil
	})
	return w.prober.Site(domain)
}

// eventually waits until check returns nil, and fails with its last reason.
func (w *world) eventually(check func() error) {
	w.t.Helper()
	deadline := time.Now().Add(testPatience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("in vain waited for: %v", err)
		}
		<-tick.C
	}
}
