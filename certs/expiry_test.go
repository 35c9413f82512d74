package certs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"statiko/notify"
	"statiko/secret"
	"statiko/state"
)

// imported returns the secret of an imported pair that is valid for life from now on.
func imported(t testing.TB, r *secret.Keyring, name string, now time.Time, life time.Duration) *state.Secret {
	t.Helper()
	cert, key := mustSelfSigned(t, Request{Names: []string{name + ".test"}, Now: now, Life: life})
	return &state.Secret{Name: state.PrefixImported + name, Sealed: sealWith(t, r, cert, key)}
}

// uses returns a site with an imported certificate.
func uses(domain, certificate string) *state.Site {
	return &state.Site{Domain: domain, TLS: &state.SiteTLS{Type: state.TLSImported, Certificate: certificate}}
}

// outbox returns the texts of all events in the state by their IDs.
func outbox(t testing.TB, s *state.Snapshot) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for o := range s.Objects(state.KindEvent) {
		if e, ok := eventOf(t, o); ok {
			texts[e.ID] = e.Text
		}
	}
	return texts
}

func startExpiry(t testing.TB, g *rig, change ...func(*ExpiryOptions)) (stop func() error) {
	t.Helper()
	o := ExpiryOptions{Store: g.store, Keyring: g.ring, Node: "edge-1", Log: zap.NewNop()}
	for _, c := range change {
		c(&o)
	}
	d, err := NewExpiryDuty(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, g.fence) }()
	return func() error { cancel(); return <-done }
}

func TestThreshold(t *testing.T) {
	for left, want := range map[time.Duration]int{
		-100 * day: -2, -2 * day: -2, -2*day + 1: -1, -day: -1, -day + 1: 0, 0: 0, 1: 1, day: 1, day + 1: 2, 2 * day: 2, 3 * day: 3,
		3*day + 1: 7, 7 * day: 7, 7*day + 1: 14, 14 * day: 14, 30 * day: 30,
	} {
		if got, ok := Threshold(left); !ok || got != want {
			t.Errorf("%v left: %d, want %d", left, got, want)
		}
	}
	if _, ok := Threshold(30*day + 1); ok {
		t.Error("more than thirty days left")
	}
	for left, want := range map[time.Duration]time.Duration{
		31 * day: day, 30 * day: 16 * day, 5 * day: 2 * day, time.Hour: time.Hour, 0: day, -day: day, -2 * day: 365 * day,
	} {
		if got := untilThreshold(left); got != want {
			t.Errorf("%v left: the next threshold in %v, want %v", left, got, want)
		}
	}
}

func TestExpiry_Texts(t *testing.T) {
	end := testNow
	for left, want := range map[time.Duration]string{
		30 * day: "expires in 30 days", 29*day - 1: "expires in 29 days", 7 * day: "expires in 7 days", 6*day + time.Second: "expires in 7 days",
		2 * day: "expires in 2 days", day + 1: "expires in 2 days", day: "expires today", time.Second: "expires today", 0: "expired today",
		-time.Hour: "expired today", -day: "expired one day ago", -2 * day: "expired more than two days ago", -90 * day: "expired more than two days ago",
	} {
		threshold, _ := Threshold(left)
		n := notice{state.PrefixImported + "shop", 1, end, threshold, []string{"shop.example.org"}}
		got := n.event("edge-1", end.Add(-left))
		if text := `The certificate "shop" of shop.example.org ` + want + " (2030-05-06 07:08 UTC)"; got.Text != text {
			t.Errorf("%v left: %s", left, got.Text)
		}
		if id := fmt.Sprintf("certificate/imported/shop/20300506T070809Z/%d", threshold); got.ID != id || got.Subject != "shop" {
			t.Errorf("%s, %s", got.ID, got.Subject)
		}
	}
	many := notice{state.PrefixACME + "000000000000001", 1, end, 7, []string{"a.test", "b.test", "c.test", "d.test", "e.test", "f.test", "g.test"}}
	got := many.event("edge-1", end.Add(-7*day))
	if want := "The certificate of a.test, b.test, c.test, d.test, e.test and 2 more expires in 7 days (2030-05-06 07:08 UTC)"; got.Text != want {
		t.Error(got.Text)
	}
	if got.Message() != "[statiko] (edge-1) "+got.Text {
		t.Error(got.Message())
	}
}

func TestExpiry_NoticesOnceAndSmallerOnesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		put(t, g.store, imported(t, g.ring, "shop", time.Now(), 40*day), imported(t, g.ring, "unused", time.Now(), 40*day),
			uses("a.test", "shop"), uses("b.test", "shop"))
		stop := startExpiry(t, g)
		synctest.Wait()
		for _, c := range []struct {
			after  time.Duration
			events int
		}{{9 * day, 0}, {day, 1}, {15 * day, 1}, {day, 2}, {7 * day, 3}, {4 * day, 4}, {day, 5}, {day, 6}, {day, 7}, {day, 8}, {day, 9}, {60 * day, 9}} {
			pass(c.after)
			pass(time.Second)
			if got := outbox(t, g.store.Snapshot()); len(got) != c.events {
				t.Fatalf("%v later: %v, want %d", c.after, slices.Collect(maps.Values(got)), c.events)
			}
		}
		rev := g.store.Snapshot().Revision()
		pass(100 * day)
		if now := g.store.Snapshot().Revision(); now != rev {
			t.Errorf("%d changes while nothing happened", now-rev)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestExpiry_FirstSeenWithFewDaysLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		put(t, g.store, imported(t, g.ring, "shop", time.Now(), 5*day))
		stop := startExpiry(t, g)
		pass(time.Hour)
		if got := outbox(t, g.store.Snapshot()); len(got) != 0 {
			t.Errorf("nobody uses it: %v", got)
		}
		put(t, g.store, uses("a.test", "shop"))
		pass(2 * time.Second)
		got := slices.Collect(maps.Values(outbox(t, g.store.Snapshot())))
		if len(got) != 1 || !strings.Contains(got[0], `"shop" of a.test expires in 5 days`) {
			t.Errorf("%v", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// W62: the earlier program remembered what it had told in memory, and did not forget it when a certificate was
// renewed: its next expiry went unnoticed until it was worse than the last one.
func TestW62_RenewedCertificateStartsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		put(t, g.store, imported(t, g.ring, "shop", time.Now(), 2*day), uses("a.test", "shop"))
		stop := startExpiry(t, g)
		pass(36 * time.Hour)
		if got := outbox(t, g.store.Snapshot()); len(got) != 2 {
			t.Fatalf("%v", got)
		}
		put(t, g.store, imported(t, g.ring, "shop", time.Now(), 31*day))
		pass(time.Hour)
		if got := outbox(t, g.store.Snapshot()); len(got) != 2 {
			t.Fatalf("a renewed one is told of: %v", got)
		}
		pass(day)
		if got := outbox(t, g.store.Snapshot()); len(got) != 3 {
			t.Fatalf("the renewed one's expiry is silent: %v", got)
		}
		remove(t, g.store, uses("a.test", "shop").Key())
		remove(t, g.store, state.ImportedCertificateKey("shop"))
		pass(2 * time.Hour)
		for about := range notify.AllNoticed(g.store.Snapshot(), "") {
			t.Errorf("the mark of a removed pair stays: %s", about)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// W62: one unreadable certificate ended the round.
func TestW62_UnreadableCertificateEndsNoRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		junk := func(name string, sealed []byte) *state.Secret {
			return &state.Secret{Name: state.PrefixImported + name, Sealed: sealed}
		}
		put(t, g.store, junk("a", []byte("x")), junk("b", nil), junk("c", g.seal([]byte("CERT"), []byte("KEY"))),
			junk("d", sealWith(t, ring(t, "EBESExQVFhcYGRobHB0eHw=="), []byte("CERT"), []byte("KEY"))))
		var names []string
		for i := range 100 {
			name := fmt.Sprintf("shop%d", i)
			names = append(names, name)
			put(t, g.store, imported(t, g.ring, name, time.Now(), 5*day), uses(name+".test", name))
		}
		for _, name := range []string{"a", "b", "c", "d"} {
			put(t, g.store, uses(name+".test", name))
		}
		stop := startExpiry(t, g)
		synctest.Wait()
		if got := outbox(t, g.store.Snapshot()); len(got) != len(names) {
			t.Errorf("%d of %d noticed", len(got), len(names))
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestExpiry_StoreAwayAndEndOfTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		put(t, g.store, imported(t, g.ring, "shop", time.Now(), 5*day), uses("a.test", "shop"))
		tries := 0
		g.store.mu.Lock()
		g.store.before = func(*state.Txn) error { tries++; return state.ErrUnavailable }
		g.store.mu.Unlock()
		stop := startExpiry(t, g)
		pass(10 * time.Minute)
		g.store.mu.Lock()
		g.store.before = nil
		if tries < 10 || tries > 60 {
			t.Errorf("%d tries in ten minutes", tries)
		}
		g.store.mu.Unlock()
		pass(time.Minute)
		if got := outbox(t, g.store.Snapshot()); len(got) != 1 {
			t.Errorf("%v", got)
		}
		g.fence.over.Store(true)
		pass(3 * day)
		if err := stop(); !errors.Is(err, state.ErrFenced) {
			t.Errorf("Run: %v", err)
		}
		if got := outbox(t, g.store.Snapshot()); len(got) != 1 {
			t.Errorf("noticed after the term: %v", got)
		}
		g.fence.over.Store(false)
		stop = startExpiry(t, g)
		pass(time.Second)
		_ = g.store.Close()
		synctest.Wait()
		if err := stop(); !errors.Is(err, state.ErrUnavailable) {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestExpiry_PairsOfAnAuthorityAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := site(state.TLSACME, "a.test")
		cert, key := mustSelfSigned(t, Request{Names: []string{"a.test"}, Life: 6 * day})
		put(t, g.store, s, plain("self.test"), &state.Secret{Name: secret.PairName(state.PrefixACME, "a.test", nil), Sealed: g.seal(cert, key)})
		stop := startExpiry(t, g)
		synctest.Wait()
		got := slices.Collect(maps.Values(outbox(t, g.store.Snapshot())))
		if len(got) != 1 || !strings.Contains(got[0], "The certificate of a.test expires in 6 days") {
			t.Errorf("%v", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestNewExpiryDuty_Refuses(t *testing.T) {
	if _, err := NewExpiryDuty(ExpiryOptions{Store: newMemStore()}); err == nil {
		t.Error("without a keyring")
	}
	if _, err := NewExpiryDuty(ExpiryOptions{Keyring: ring(t, testKey)}); err == nil {
		t.Error("without a store")
	}
}
