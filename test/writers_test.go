package test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statiko/api"
	"statiko/state"
	"statiko/test/cluster"
)

// Eight clients add sites at the same time (weaknesses W3 and W58 of the earlier program): none is lost, a name that
// all of them want has one winner, and each site answers with a certificate of its own.
func TestW3_EightWritersLoseNothing(t *testing.T) {
	t.Parallel()
	const writers, contested = 8, 20
	sites := 300
	if soak() {
		sites = 1000
	}
	n, c := startNode(t)
	ctx := context.Background()
	began := time.Now()
	var (
		all  sync.WaitGroup
		wins [contested]atomic.Int32
		mu   sync.Mutex
		want = map[string]bool{}
	)
	for w := range writers {
		all.Go(func() {
			c := n.Client()
			defer c.Close()
			added := func(domain string, err error) {
				if err != nil {
					t.Errorf("add %s: %v", domain, err)
					return
				}
				mu.Lock()
				want[domain] = true
				mu.Unlock()
			}
			for i := w; i < sites; i += writers {
				domain := fmt.Sprintf("s%04d.example.org", i)
				_, err := c.CreateSite(ctx, api.SiteCreate{Domain: domain, Aliases: []string{"www." + domain}})
				added(domain, err)
			}
			for i := range contested {
				domain := fmt.Sprintf("c%d-%d.example.org", w, i)
				_, err := c.CreateSite(ctx, api.SiteCreate{Domain: domain, Aliases: []string{fmt.Sprintf("shared-%d.example.org", i)}})
				if errors.Is(err, state.ErrExists) {
					continue
				}
				added(domain, err)
				wins[i].Add(1)
			}
		})
	}
	all.Wait()
	t.Logf("%d sites stored in %s", len(want), time.Since(began).Round(time.Millisecond))
	for i := range wins {
		if got := wins[i].Load(); got != 1 {
			t.Errorf("%d writers got shared-%d.example.org", got, i)
		}
	}
	got, err := c.Sites(ctx)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, s := range got {
		if !want[s.Domain] {
			t.Errorf("%s was not acknowledged", s.Domain)
		}
		delete(want, s.Domain)
		for _, name := range append(s.Aliases, s.Domain) {
			if other := names[name]; other != "" {
				t.Errorf("%s belongs to %s and %s", name, other, s.Domain)
			}
			names[name] = s.Domain
		}
	}
	if len(want) > 0 {
		t.Errorf("lost: %v", want)
	}

	if err := cluster.Poll(60*time.Second, "certificates of all sites", n.Settled); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d sites with certificates after %s", len(got), time.Since(began).Round(time.Millisecond))
	v := cluster.Visit(t, n)
	serials := map[string]string{}
	for _, s := range got {
		cert, err := n.CertificateOf(s.Domain)
		if err != nil {
			t.Fatalf("%s: %v", s.Domain, err)
		}
		for _, name := range append(s.Aliases, s.Domain) {
			if err := cert.VerifyHostname(name); err != nil {
				t.Errorf("%s: %v", s.Domain, err)
			}
		}
		serial := cert.SerialNumber.String()
		if other := serials[serial]; other != "" || cert.SerialNumber.BitLen() < 64 {
			t.Errorf("%s has the serial number %s, as has %q", s.Domain, serial, other)
		}
		serials[serial] = s.Domain
	}
	for i := 0; i < sites; i += sites / 20 {
		v.MustGet(t, 200, fmt.Sprintf("https://s%04d.example.org/", i))
	}
	t.Logf("%d sites answered after %s", len(got), time.Since(began).Round(time.Millisecond))
}
