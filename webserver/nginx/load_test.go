package nginx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statiko/dhparams"
	"statiko/webserver"
)

// visitor asks one site again and again, over HTTP/1.1 or HTTP/2.
type visitor struct {
	client *http.Client
	// retry tells that a request that failed is sent once more, on a fresh connection.
	retry bool
}

func newVisitor(t testing.TB, s *Server, h2 bool) *visitor {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.eng.address())
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: h2, DisableCompression: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &visitor{client: &http.Client{Transport: transport, Timeout: 20 * time.Second}, retry: !h2}
}

func (v *visitor) ask(host, path string) (retried bool, err error) {
	once := func() error {
		res, err := v.client.Get("https://" + host + path)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK {
			return final{fmt.Errorf("%s%s: %s %.100q", host, path, res.Status, body)}
		}
		return nil
	}
	if err = once(); err == nil || !v.retry || errors.As(err, new(final)) {
		return false, err
	}
	v.client.Transport.(*http.Transport).CloseIdleConnections()
	return true, once()
}

type final struct{ error }

// Under load sites are added, changed, removed and deployed, certificates renewed and DH parameters replaced: no request
// over HTTP/2 fails, and none over HTTP/1.1 after one retry on a fresh connection, as a reload ends idle ones. With
// STATIKO_SOAK it takes a minute and 100 sites.
func TestLoad_ChangesDisturbNoVisitor(t *testing.T) {
	t.Parallel()
	span, sites := 4*time.Second, 20
	if os.Getenv("STATIKO_SOAK") != "" {
		span, sites = time.Minute, 100
	}
	s := start(t, Options{Timeouts: Timeouts{Watch: 100 * time.Millisecond, Between: 100 * time.Millisecond}})
	base := page(t, "busy.test", "one")
	ruled := withManifest(page(t, "ruled.test", "ruled"), parse(t, "rules: [{prefix: /, options: {headers: {X-A: b}}}]"))
	apply(t, s, base, ruled)

	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	var visitors sync.WaitGroup
	var requests, retries atomic.Int64
	for i := range 8 {
		v := newVisitor(t, s, i%2 == 0)
		host := []string{"busy.test", "ruled.test"}[i/2%2]
		visitors.Go(func() {
			pace := time.NewTicker(16 * time.Millisecond) // 62 a second each, 500 in all
			defer pace.Stop()
			for ctx.Err() == nil {
				retried, err := v.ask(host, "/")
				requests.Add(1)
				if retried {
					retries.Add(1)
				}
				if err != nil {
					t.Errorf("HTTP/2 %v: %v", !v.retry, err)
					return
				}
				<-pace.C
			}
		})
	}
	versions := []*webserver.Site{stage(t, base, map[string]string{"index.html": "one"}), stage(t, base, map[string]string{"index.html": "two"})}
	changes := 0
	for ; ctx.Err() == nil; changes++ {
		i := changes % sites
		extra := page(t, fmt.Sprintf("extra%d.test", i), "extra")
		switch changes % 6 {
		case 0:
			apply(t, s, extra)
		case 1:
			apply(t, s, withManifest(extra, parse(t, fmt.Sprintf("rules: [{prefix: /, options: {headers: {X-N: \"%d\"}}}]", changes))))
		case 2:
			if _, err := s.Apply(t.Context(), []webserver.Change{{Domain: fmt.Sprintf("extra%d.test", (i+sites/2)%sites)}}); err != nil {
				t.Fatal(err)
			}
		case 3:
			apply(t, s, versions[changes/6%2]) // a deploy
		case 4:
			renewed := *versions[changes/6%2]
			renewed.Certificate = newSite(t, "busy.test").Certificate
			versions[0], versions[1] = &renewed, withPair(versions[1], renewed.Certificate)
			apply(t, s, &renewed)
		case 5:
			p := []*dhparams.Params{dhparams.Builtin(2048), clusterOwn(t)}[changes/6%2]
			if err := s.SetDHParams(t.Context(), p.PEM()); err != nil {
				t.Fatal(err)
			}
		}
	}
	visitors.Wait()
	t.Logf("%d changes, %d requests, %d of them were sent twice", changes, requests.Load(), retries.Load())
}

func withPair(s *webserver.Site, p webserver.Pair) *webserver.Site {
	next := *s
	next.Certificate = p
	return &next
}

// Of many sites one has a manifest that nginx refuses, one a bundle that vanished, one a key that does not belong to its
// certificate: all others are applied in one call, and the three are named with reasons; also by another server, as
// after a restart. W57: each site cost a test of the whole configuration.
func TestW57_ManySitesOfWhichThreeAreFaulty(t *testing.T) {
	t.Parallel()
	n := 60
	if os.Getenv("STATIKO_SOAK") != "" {
		n = 1000
	}
	changes := manySites(t, n, 10)
	set := func(i int, f func(*webserver.Site)) string {
		site := *changes[i].Site
		f(&site)
		changes[i].Site = &site
		return site.Domain
	}
	large := set(n/4, func(s *webserver.Site) { s.Manifest = tooLarge(t) })
	gone := set(n/2, func(s *webserver.Site) { s.Root += "/vanished" })
	mixed := set(3*n/4, func(s *webserver.Site) { s.Certificate.KeyPEM = newSite(t, "other.test").Certificate.KeyPEM })
	program, count := counting(t)
	for _, when := range []string{"first", "after a restart"} {
		t.Run(when, func(t *testing.T) {
			s := start(t, Options{Program: program})
			before := count()
			failed, err := s.Apply(t.Context(), changes)
			if err != nil {
				t.Fatal(err)
			}
			if len(failed) != 3 {
				t.Fatalf("failed: %v", failed)
			}
			for domain, part := range map[string]string{large: "nginx refuses", gone: "bundle", mixed: "private key does not match"} {
				if err := failed[domain]; err == nil || !contains(err, part) {
					t.Errorf("%s: %v, want %q", domain, err, part)
				}
			}
			if tests := count() - before; tests != 2 {
				t.Errorf("nginx -t ran %d times, want once and once more without the one that it refuses", tests)
			}
			for _, c := range changes {
				status, _, err := get(s, c.Domain, "/")
				if served := err == nil && status == 200; served != (failed[c.Domain] == nil) {
					t.Fatalf("%s: %d %v", c.Domain, status, err)
				}
			}
		})
	}
}
