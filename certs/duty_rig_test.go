package certs

import (
	"context"
	"crypto/x509"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"statiko/secret"
	"statiko/state"
)

const testKey = "AAECAwQFBgcICQoLDA0ODw=="

func ring(t testing.TB, key string, old ...string) *secret.Keyring {
	t.Helper()
	r, err := secret.NewKeyring(key, old...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type testFence struct{ over atomic.Bool }

func (f *testFence) Over() bool { return f.over.Load() }

// rig is a duty over a store in memory.
type rig struct {
	t     testing.TB
	store *memStore
	ring  *secret.Keyring
	duty  *Duty
	fence *testFence
	// made counts the certificates made.
	made atomic.Int64
}

func newRig(t *testing.T, change ...func(*DutyOptions)) *rig {
	t.Helper()
	g := &rig{t: t, store: newMemStore(), ring: ring(t, testKey), fence: &testFence{}}
	g.remake(change...)
	return g
}

func (g *rig) remake(change ...func(*DutyOptions)) {
	g.t.Helper()
	o := DutyOptions{Store: g.store, Keyring: g.ring, Log: zaptest.NewLogger(g.t, zaptest.Level(zap.WarnLevel))}
	for _, c := range change {
		c(&o)
	}
	d, err := NewDuty(o)
	if err != nil {
		g.t.Fatal(err)
	}
	produce := d.produce
	d.produce = func(site *state.Site) ([]byte, error) { g.made.Add(1); return produce(site) }
	g.duty = d
}

// start runs the duty and returns what ends it and returns its error.
func (g *rig) start() (stop func() error) {
	ctx, cancel := context.WithCancel(g.t.Context())
	done := make(chan error, 1)
	go func() { done <- g.duty.Run(ctx, g.fence) }()
	return func() error { cancel(); return <-done }
}

// run runs the duty while f does, with the work of the start done before.
func (g *rig) run(f func()) {
	g.t.Helper()
	stop := g.start()
	synctest.Wait()
	f()
	if err := stop(); err != nil {
		g.t.Errorf("Run: %v", err)
	}
}

// pass lets fake time pass, until all have done what they do by then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func site(tlsType, domain string, aliases ...string) *state.Site {
	s := &state.Site{Domain: domain, Aliases: aliases, TLS: &state.SiteTLS{Type: tlsType}}
	if tlsType == state.TLSImported || tlsType == state.TLSKeyVault {
		s.TLS.Certificate = "shop"
	}
	return s
}

func plain(domain string, aliases ...string) *state.Site {
	return site(state.TLSSelfSigned, domain, aliases...)
}

func nameOf(s *state.Site) string {
	return secret.PairName(state.PrefixSelfSigned, s.Domain, s.Aliases)
}

func (g *rig) seal(cert, key []byte) []byte {
	g.t.Helper()
	return sealWith(g.t, g.ring, cert, key)
}

func sealWith(t testing.TB, r *secret.Keyring, cert, key []byte) []byte {
	t.Helper()
	packed, err := secret.PackPair(key, cert)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := r.Seal(packed)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// good fails unless a pair without any problem is stored for the site, and returns its certificate.
func (g *rig) good(s *state.Site) *x509.Certificate {
	g.t.Helper()
	sec, ok := g.store.Snapshot().Secret(nameOf(s))
	if !ok {
		g.t.Fatalf("%s has no pair", s.Domain)
	}
	packed, err := g.ring.Open(sec.Sealed)
	if err != nil {
		g.t.Fatalf("%s: %v", s.Domain, err)
	}
	key, cert, err := secret.UnpackPair(packed)
	if err != nil {
		g.t.Fatalf("%s: %v", s.Domain, err)
	}
	if ps := Judge(cert, key, s.Names(), time.Now()); len(ps) > 0 {
		g.t.Fatalf("%s: %v", s.Domain, ps)
	}
	return leafOf(g.t, cert)
}

func (g *rig) pairs() []string {
	var names []string
	for s := range g.store.Snapshot().Secrets(state.PrefixSelfSigned) {
		names = append(names, s.Name)
	}
	return names
}
