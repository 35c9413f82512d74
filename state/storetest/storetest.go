// Package storetest holds the suite that every backend of [state.Store] passes: each sentence of the contract
// that a backend can break is a test. A backend's tests call [Run].
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"statiko/state"
)

// Harness is one empty store with what the suite may do to it.
type Harness struct {
	// Store is open, and new: it has no objects.
	Store state.Store
	// Reopen closes the store that it, or the harness, gave last and returns another on the same backend. The
	// suite never calls it while Second is in use.
	Reopen func() state.Store
	// Second returns another replica on the same backend; nil if a backend has but one. The harness closes it.
	Second func() state.Store
	// Break makes the backend refuse changes from now on, and Heal ends that. Nil if a backend cannot be broken.
	Break, Heal func()
	// NewTerm returns the fence of a new term of leadership, and what ends the term.
	NewTerm func() (state.Fence, func())
	// Kinds are those that the backend keeps in its snapshots; nil means all.
	Kinds []state.Kind
	// Timeout is how long a change may take on a broken backend; 0 means 10 seconds.
	Timeout time.Duration
}

func (h *Harness) kinds() []state.Kind {
	if h.Kinds != nil {
		return h.Kinds
	}
	return state.Kinds()
}

// replicas returns the store, and a second replica if there is one, or else the store again.
func (h *Harness) replicas() []state.Store {
	if h.Second == nil {
		return []state.Store{h.Store, h.Store}
	}
	return []state.Store{h.Store, h.Second()}
}

// Run runs the suite. open is called for each test; it returns a new, empty store and cleans up by t.Cleanup.
func Run(t *testing.T, open func(t testing.TB) Harness) {
	RunSound(t, open)
	RunOutcomes(t, open)
}

// RunSound runs the part of the suite in which nothing is broken, for backends that are given more time then.
func RunSound(t *testing.T, open func(t testing.TB) Harness) {
	for _, g := range []struct {
		name  string
		tests []test
	}{
		{"Reading", readingTests}, {"Waiting", waitingTests}, {"Updating", updatingTests}, {"Limits", limitTests},
		{"Names", nameTests}, {"Guards", guardTests}, {"Restoring", restoreTests}, {"Fence", fenceTests},
		{"Persistence", persistenceTests}, {"Closing", closeTests},
	} {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			runAll(t, g.tests, open)
		})
	}
	t.Run("Model", func(t *testing.T) {
		t.Parallel()
		model(t, open)
	})
}

// RunOutcomes runs the part of the suite that is about a broken backend, for backends that break in several ways.
func RunOutcomes(t *testing.T, open func(t testing.TB) Harness) {
	t.Run("Outcomes", func(t *testing.T) {
		t.Parallel()
		runAll(t, outcomeTests, open)
	})
}

func runAll(t *testing.T, tests []test, open func(t testing.TB) Harness) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := open(t)
			test.run(t, &h)
		})
	}
}

type test struct {
	name string
	run  func(t *testing.T, h *Harness)
}

// update makes a change that must succeed.
func update(t testing.TB, s state.Store, change func(*state.Draft) error) int64 {
	t.Helper()
	revision, err := s.Update(context.Background(), change)
	if err != nil {
		t.Fatalf("update: %v", err)
	}
	return revision
}

// put stores objects in one update, which must succeed.
func put(t testing.TB, s state.Store, objects ...state.Object) int64 {
	t.Helper()
	return update(t, s, func(d *state.Draft) error { return putAll(d, objects...) })
}

func putAll(d *state.Draft, objects ...state.Object) error {
	for _, o := range objects {
		if err := d.Put(o); err != nil {
			return err
		}
	}
	return nil
}

func remove(t testing.TB, s state.Store, k state.Key) int64 {
	t.Helper()
	return update(t, s, func(d *state.Draft) error { return d.Delete(k) })
}

// wantErr fails unless err is the sentinel.
func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// readAlong has read look at every snapshot that the store publishes until the test ends, or it finds something wrong. A
// snapshot that was looked at is not looked at again at once: it never changes.
func readAlong(t testing.TB, s state.Store, read func(*state.Snapshot) error) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var reader sync.WaitGroup
	reader.Go(func() {
		for seen := (*state.Snapshot)(nil); ctx.Err() == nil; {
			snapshot := s.Snapshot()
			if snapshot == seen {
				time.Sleep(50 * time.Microsecond)
				continue
			}
			if err := read(snapshot); err != nil {
				t.Error(err)
				return
			}
			seen = snapshot
		}
	})
	t.Cleanup(reader.Wait)
	t.Cleanup(stop)
}

// eventually waits until check returns nil, and prints its last error if it never does.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s in vain: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// within fails if f takes longer.
func within(t testing.TB, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("%s takes longer than %v", what, d)
	}
}

// site returns a self-signed site with aliases.
func site(domain string, aliases ...string) *state.Site {
	return &state.Site{Domain: domain, Aliases: aliases, TLS: &state.SiteTLS{Type: state.TLSSelfSigned}}
}

func app(name string) *state.App { return sample(state.KindApp, name, 0).(*state.App) }

func using(s *state.Site, app, certificate string) *state.Site {
	if app != "" {
		s.App = &state.SiteApp{Name: app}
	}
	if certificate != "" {
		s.TLS = &state.SiteTLS{Type: state.TLSImported, Certificate: certificate}
	}
	return s
}

// certificate returns the secret of an imported certificate.
func certificate(name string) *state.Secret {
	return &state.Secret{Name: state.PrefixImported + name, Sealed: []byte("sealed " + name)}
}

// sample returns an object of the kind whose content depends on n.
func sample(kind state.Kind, name string, n int) state.Object {
	at := time.Date(2031, 2, 3, 4, 5, n%60, 0, time.UTC)
	switch kind {
	case state.KindSite:
		return &state.Site{Domain: name, Temporary: n%2 == 1, TLS: &state.SiteTLS{Type: state.TLSSelfSigned},
			Aliases: []string{fmt.Sprintf("alias-%d.%s", n, name)}}
	case state.KindApp:
		return &state.App{Name: name, Type: "tar.gz", Size: int64(n), SHA256: fmt.Sprintf("%064x", n), Uploaded: at}
	case state.KindSecret:
		return &state.Secret{Name: name, Sealed: fmt.Appendf(nil, "sealed %d", n)}
	case state.KindDHParams:
		return &state.DHParams{Time: at, PEM: fmt.Sprintf("-----BEGIN DH PARAMETERS-----\n%d <&>\n-----END DH PARAMETERS-----\n", n)}
	case state.KindQuarantine:
		return &state.Quarantined{Name: "sites/" + name, Kind: state.KindSite, Object: name, Reason: "faulty", Raw: fmt.Appendf(nil, `{"n":%d}`, n)}
	}
	return &state.Record{Kind: kind, Name: name, Data: fmt.Appendf(nil, `{"n":%d,"text":"<é&\n>"}`, n)}
}

// content returns all objects of the kinds with their JSON.
func content(t testing.TB, s *state.Snapshot, kinds []state.Kind) map[state.Key]string {
	t.Helper()
	all := map[state.Key]string{}
	for _, kind := range kinds {
		for o := range s.Objects(kind) {
			raw, err := o.MarshalJSON()
			if err != nil {
				t.Fatalf("encode %s: %v", o.Key(), err)
			}
			all[o.Key()] = compact(t, raw)
		}
	}
	return all
}

// sameContent fails if two contents differ, and names the first difference.
func sameContent(t testing.TB, got, want map[state.Key]string) {
	t.Helper()
	var keys []state.Key
	for k := range got {
		keys = append(keys, k)
	}
	for k := range want {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b state.Key) int {
		if a.String() < b.String() {
			return -1
		}
		return 1
	})
	for _, k := range keys {
		g, had := got[k]
		w, has := want[k]
		switch {
		case !had:
			t.Fatalf("%s is missing", k)
		case !has:
			t.Fatalf("%s is there and should not be", k)
		case g != w:
			t.Fatalf("%s is %s, want %s", k, g, w)
		}
	}
}
