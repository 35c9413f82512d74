package servertest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"statiko/webserver"
)

// certificateFor returns the PEM of the leaf that the server presents for a name.
func (w *world) certificateFor(sni string, config func(*tls.Config)) ([]byte, error) {
	c := trustAll(sni)
	if config != nil {
		config(c)
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", w.HTTPS, c)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	leaf := conn.ConnectionState().PeerCertificates[0]
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), nil
}

func testCertificates(t *testing.T, w *world) {
	a, b := newSite(t, "a.test", "www.a.test"), newSite(t, "b.test")
	w.apply(t, a, b)
	nodePEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.fixture.NodeCertificate.Certificate[0]})
	tls12 := func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }
	for _, row := range []struct {
		name, sni string
		config    func(*tls.Config)
		want      []byte // nil: the handshake fails
	}{
		{"domain", "a.test", nil, a.Certificate.CertificatePEM},
		{"alias", "www.a.test", nil, a.Certificate.CertificatePEM},
		{"another domain", "b.test", nil, b.Certificate.CertificatePEM},
		{"capitals", "A.TEST", nil, a.Certificate.CertificatePEM},
		{"TLS 1.2", "b.test", tls12, b.Certificate.CertificatePEM},
		{"unknown name", "unknown.test", nil, nodePEM},
		{"no name", "", nil, nodePEM},
		{"below a domain", "x.a.test", nil, nodePEM},
		{"TLS 1.1", "a.test", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, nil},
		{"without forward secrecy", "a.test", func(c *tls.Config) {
			tls12(c)
			c.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_CBC_SHA}
		}, nil},
		{"without authenticated encryption", "a.test", func(c *tls.Config) {
			tls12(c)
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA}
		}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := w.certificateFor(row.sni, row.config)
			switch {
			case row.want == nil && err == nil:
				t.Error("the handshake succeeded")
			case row.want != nil && err != nil:
				t.Errorf("handshake: %v", err)
			case row.want != nil && !bytes.Equal(got, row.want):
				t.Error("another certificate")
			}
		})
	}
	t.Run("renewed", func(t *testing.T) {
		next := *b
		next.Certificate = newPair(t, "b.test")
		w.apply(t, &next)
		got, err := w.certificateFor("b.test", nil)
		if err != nil || !bytes.Equal(got, next.Certificate.CertificatePEM) {
			t.Errorf("the old certificate, or error %v", err)
		}
	})
}

// testApplyFailure: weaknesses W18 and W32 of the earlier program.
func testApplyFailure(t *testing.T, w *world) {
	page := func(s *webserver.Site, text string) *webserver.Site {
		return deploy(t, s, map[string]string{"index.html": text})
	}
	good := page(newSite(t, "good.test", "www.good.test"), "one")
	w.apply(t, good)
	other := newPair(t, "good.test")
	for i, row := range []struct {
		name  string
		spoil func(*webserver.Site)
	}{
		{"W18 key of another certificate", func(s *webserver.Site) { s.Certificate.KeyPEM = other.KeyPEM }},
		{"no certificate", func(s *webserver.Site) { s.Certificate = webserver.Pair{} }},
		{"certificate that does not parse", func(s *webserver.Site) { s.Certificate.CertificatePEM = []byte("nonsense") }},
		{"key that does not parse", func(s *webserver.Site) { s.Certificate.KeyPEM = []byte("nonsense") }},
		{"W32 bundle that is not there", func(s *webserver.Site) { s.Root += "/none" }},
		{"alias without a name", func(s *webserver.Site) { s.Aliases = []string{""} }},
		{"site of another domain", func(s *webserver.Site) { s.Domain = "else.test" }},
	} {
		t.Run(row.name, func(t *testing.T) {
			bad := page(good, "two")
			row.spoil(bad)
			fine := page(newSite(t, fmt.Sprintf("fine%d.test", i)), "fine")
			failed, err := w.Server.Apply(context.Background(), []webserver.Change{
				{Domain: "good.test", Site: bad}, {Domain: fine.Domain, Site: fine}})
			if err != nil {
				t.Fatalf("apply: %v", err)
			}
			if len(failed) != 1 || failed["good.test"] == nil {
				t.Fatalf("failed: %v, want good.test alone", failed)
			}
			if text := failed["good.test"].Error(); strings.Contains(text, "PRIVATE KEY") {
				t.Errorf("the reason shows the key: %s", text)
			}
			w.wantBody(t, "good.test", "one")
			w.wantBody(t, fine.Domain, "fine")
			got, err := w.certificateFor("www.good.test", nil)
			if err != nil || !bytes.Equal(got, good.Certificate.CertificatePEM) {
				t.Errorf("another certificate, or error %v", err)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := w.Server.Apply(ctx, []webserver.Change{{Domain: "good.test", Site: page(good, "three")}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("apply: %v, want that it was cancelled", err)
		}
		w.wantBody(t, "good.test", "one")
	})
	t.Run("repaired", func(t *testing.T) {
		w.apply(t, page(good, "four"))
		w.wantBody(t, "good.test", "four")
	})
}

func testApplyOwners(t *testing.T, w *world) {
	text := func(s *webserver.Site) *webserver.Site {
		return deploy(t, s, map[string]string{"index.html": "I am " + s.Domain})
	}
	x, y := text(newSite(t, "x.test", "name.test")), text(newSite(t, "y.test"))
	w.apply(t, x, y)
	location := func(want string) {
		t.Helper()
		if a := w.get(t, "name.test", "/"); a.header.Get("Location") != want {
			t.Errorf("name.test: %d, Location %q, want %q", a.status, a.header.Get("Location"), want)
		}
	}
	location("https://x.test:8443/")
	x2, y2 := text(newSite(t, "x.test")), text(newSite(t, "y.test", "name.test"))
	w.apply(t, y2, x2) // the new owner first
	location("https://y.test:8443/")
	w.apply(t, y, x) // the old owner first
	location("https://x.test:8443/")

	// A domain becomes an alias of another site, and an alias a domain.
	w.applyChanges(t, webserver.Change{Domain: "name.test", Site: text(newSite(t, "name.test", "x.test"))},
		webserver.Change{Domain: "x.test"})
	w.wantBody(t, "name.test", "I am name.test")
	if a := w.get(t, "x.test", "/"); a.header.Get("Location") != "https://name.test:8443/" {
		t.Errorf("x.test: %d %v", a.status, a.header)
	}
	w.applyChanges(t, webserver.Change{Domain: "x.test", Site: x}, webserver.Change{Domain: "name.test"})
	location("https://x.test:8443/")
	w.wantBody(t, "x.test", "I am x.test")
	w.wantBody(t, "y.test", "I am y.test")
}

func testApplyDuplicates(t *testing.T, w *world) {
	text := func(s *webserver.Site) *webserver.Site {
		return deploy(t, s, map[string]string{"index.html": "I am " + s.Domain})
	}
	w.apply(t, text(newSite(t, "x.test", "name.test")), text(newSite(t, "y.test", "old.test")))
	change := func(s *webserver.Site) webserver.Change { return webserver.Change{Domain: s.Domain, Site: s} }
	for _, row := range []struct {
		name    string
		changes []webserver.Change
		failed  []string
	}{
		{"alias of a site", []webserver.Change{change(text(newSite(t, "y.test", "name.test")))}, []string{"y.test"}},
		{"domain of a site", []webserver.Change{change(text(newSite(t, "y.test", "x.test")))}, []string{"y.test"}},
		{"domain that is an alias", []webserver.Change{change(text(newSite(t, "name.test")))}, []string{"name.test"}},
		{"new sites with one alias", []webserver.Change{change(text(newSite(t, "p.test", "q.test"))), change(text(newSite(t, "r.test", "q.test")))}, []string{"r.test"}},
		{"name of a site that keeps it because it failed", []webserver.Change{
			change(text(newSite(t, "s.test", "old.test"))), change(text(newSite(t, "y.test", "name.test")))}, []string{"s.test", "y.test"}},
		{"name twice in one site", []webserver.Change{change(text(newSite(t, "y.test", "u.test", "u.test")))}, []string{"y.test"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			failed, err := w.Server.Apply(context.Background(), row.changes)
			if err != nil {
				t.Fatalf("apply: %v", err)
			}
			var domains []string
			for domain, reason := range failed {
				domains = append(domains, domain)
				if reason == nil || reason.Error() == "" {
					t.Errorf("%s failed without a reason", domain)
				}
			}
			slices.Sort(domains)
			if !slices.Equal(domains, row.failed) {
				t.Errorf("failed: %v, want %v", failed, row.failed)
			}
			w.wantBody(t, "x.test", "I am x.test")
			w.wantBody(t, "y.test", "I am y.test")
			if a := w.get(t, "name.test", "/"); a.header.Get("Location") != "https://x.test:8443/" {
				t.Errorf("name.test: %d %v", a.status, a.header)
			}
			if a := w.get(t, "old.test", "/"); a.header.Get("Location") != "https://y.test:8443/" {
				t.Errorf("old.test: %d %v", a.status, a.header)
			}
		})
	}
}

func testApplyRemove(t *testing.T, w *world) {
	w.apply(t, newSite(t, "x.test", "www.x.test"), newSite(t, "y.test"))
	w.applyChanges(t, webserver.Change{Domain: "x.test"}, webserver.Change{Domain: "never.test"})
	for _, host := range []string{"x.test", "www.x.test"} {
		if a := w.get(t, host, "/"); a.status != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", host, a.status)
		}
	}
	if a := w.get(t, "y.test", "/"); a.status != http.StatusOK {
		t.Errorf("y.test: %d", a.status)
	}
	// An alias is not removed by naming it: the domain is what a change is for.
	w.apply(t, newSite(t, "x.test", "www.x.test"))
	w.applyChanges(t, webserver.Change{Domain: "www.x.test"})
	if a := w.get(t, "www.x.test", "/"); a.status != http.StatusMovedPermanently {
		t.Errorf("www.x.test: %d, want 301", a.status)
	}
}

func testDeploy(t *testing.T, w *world) {
	base := newSite(t, "d.test")
	sites := make([]*webserver.Site, 2)
	for i := range sites {
		sites[i] = deploy(t, base, map[string]string{"index.html": fmt.Sprintf("version %d", i)})
	}
	w.apply(t, sites[0])
	ctx, cancel := context.WithCancel(context.Background())
	var visitors sync.WaitGroup
	for range 2 {
		client := w.client2(t)
		visitors.Go(func() {
			for ctx.Err() == nil {
				a, err := w.ask2(client, question{host: "d.test", method: "GET", path: "/"})
				if err != nil || a.status != 200 || a.body != "version 0" && a.body != "version 1" {
					t.Errorf("during a deploy: %v %+v", err, a)
					return
				}
			}
		})
	}
	client := w.client2(t)
	for i := range 200 {
		w.apply(t, sites[(i+1)%2])
		want := fmt.Sprintf("version %d", (i+1)%2)
		if a, err := w.ask2(client, question{host: "d.test", method: "GET", path: "/"}); err != nil || a.body != want {
			t.Fatalf("right after deploy %d: %v %+v, want %s", i, err, a, want)
		}
	}
	cancel()
	visitors.Wait()
}

// testSharedBundle: weakness W37 of the earlier program. Two sites serve one bundle, and only they follow its manifest.
func testSharedBundle(t *testing.T, w *world) {
	first := deploy(t, newSite(t, "one.test"), map[string]string{
		"index.html": "shared", "_statiko.yaml": `rules: [{prefix: /, options: {headers: {X-Rule: "yes"}}}]`})
	second := newSite(t, "two.test")
	second.Root, second.Version, second.Manifest = first.Root, first.Version, first.Manifest
	w.apply(t, first, second, deploy(t, newSite(t, "three.test"), map[string]string{"index.html": "alone"}))
	for host, want := range map[string]string{"one.test": "yes", "two.test": "yes", "three.test": ""} {
		if a := w.get(t, host, "/"); a.status != 200 || a.header.Get("X-Rule") != want {
			t.Errorf("%s: %d, X-Rule %q, want %q", host, a.status, a.header.Get("X-Rule"), want)
		}
	}
}

func testOpenConnections(t *testing.T, w *world) {
	site := newSite(t, "keep.test")
	w.apply(t, deploy(t, site, map[string]string{"index.html": "kept", "slow.bin": strings.Repeat(large, 10)}))

	kept, err := tls.Dial("tcp", w.HTTPS, trustAll("keep.test", "http/1.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	dials := 0
	keepAlive := &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		dials++
		return kept, nil
	}}
	defer keepAlive.CloseIdleConnections()
	fetch := func() {
		t.Helper()
		res, err := keepAlive.RoundTrip(&http.Request{Method: "GET", URL: mustURL(t, "https://keep.test/"), Header: http.Header{}})
		if err != nil {
			t.Fatalf("kept connection: %v", err)
		}
		if a, err := read(res); err != nil || a.body != "kept" {
			t.Fatalf("kept connection: %v %+v", err, a)
		}
	}
	fetch()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	slow, err := w.client2(t).Do((&http.Request{Method: "GET", URL: mustURL(t, "https://keep.test/slow.bin"), Header: http.Header{}}).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	var got bytes.Buffer
	extra := newSite(t, "extra.test")
	changes := 1000
	if w.Reloads {
		changes = 20 // each is many times as much work; the download goes on in a worker of before
	}
	for i := range changes {
		if i%2 == 0 {
			w.apply(t, extra)
		} else {
			w.applyChanges(t, webserver.Change{Domain: "extra.test"})
		}
		if _, err := io.CopyN(&got, slow.Body, 3000); err != nil {
			t.Fatalf("slow download after %d changes: %v", i, err)
		}
	}
	if _, err := io.Copy(&got, slow.Body); err != nil {
		t.Fatalf("slow download: %v", err)
	}
	if got.String() != strings.Repeat(large, 10) {
		t.Errorf("slow download: %d bytes, not those of the file", got.Len())
	}
	if w.Reloads {
		return // the kept connection was idle
	}
	fetch()
	if dials != 1 {
		t.Errorf("%d connections, want one", dials)
	}
}

// testConcurrentUse is for the race detector: all methods at once.
func testConcurrentUse(t *testing.T, w *world) {
	sites := []*webserver.Site{
		deploy(t, newSite(t, "c.test", "www.c.test"), map[string]string{"index.html": "c", "style.css": css, "br:style.css": cssBr}),
		newSite(t, "c.test"),
	}
	w.apply(t, sites[0])
	deadline := time.Now().Add(500 * time.Millisecond)
	var all sync.WaitGroup
	for range 4 {
		client := w.client2(t)
		all.Go(func() {
			for time.Now().Before(deadline) {
				for _, path := range []string{"/", "/style.css"} {
					if _, err := w.ask2(client, question{host: "c.test", method: "GET", path: path, header: []string{"Accept-Encoding: br"}}); err != nil {
						t.Errorf("request: %v", err)
						return
					}
				}
			}
		})
	}
	for i := 0; time.Now().Before(deadline); i++ {
		w.apply(t, sites[i%2])
		if s := w.Server.Status(); !s.Running || s.Err != nil || s.Since.IsZero() {
			t.Errorf("status: %+v", s)
		}
	}
	all.Wait()
}
