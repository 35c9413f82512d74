package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statiko/api"
	"statiko/state"
)

// Weakness W15: a header name of one letter in a manifest ended the process, again at each start.
func TestW15_HeaderNameOfOneLetter(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("a.test")
	n.upload("one", map[string]string{"index.html": "one", "_statiko.yaml": "rules:\n  - prefix: /\n    options: {headers: {X: \"y\"}}\n"})
	n.upload("none", map[string]string{"index.html": "none", "_statiko.yaml": "rules:\n  - prefix: /\n    options: {headers: {\"\": \"y\"}}\n"})
	for _, app := range []string{"one", "none"} {
		if err := n.client.Deploy(n.ctx(), "a.test", app); !errors.Is(err, state.ErrInvalid) {
			t.Errorf("deploying %s: %v", app, err)
		}
	}
	d := n.document()
	d.site("a.test")["app"] = map[string]any{"name": "one"}
	n.ok(n.setState(d.text(t)))
	n.settled()
	n.stop()
	n = start(t, n.dir)
	n.addSite("b.test")
}

// Weakness W32: deploying something broken took the working site offline.
func TestW32_BadDeployKeepsTheLastGoodVersion(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("live.test")
	n.upload("good", map[string]string{"index.html": "good"})
	n.upload("gone", map[string]string{"index.html": "gone"})
	n.upload("faulty", map[string]string{"index.html": "faulty", "_statiko.yaml": "page404: [1]\n"})
	n.deploy("live.test", "good")
	for _, app := range []string{"missing", "faulty"} {
		if err := n.client.Deploy(n.ctx(), "live.test", app); !errors.Is(err, state.ErrInvalid) {
			t.Errorf("deploying the bundle %s: %v", app, err)
		}
		n.want("live.test", "/", "good")
	}
	// A restored state can ask for anything; the folder and the archive of a bundle can be lost.
	apps, err := n.client.Apps(n.ctx())
	n.ok(err)
	for _, a := range apps {
		if a.Name == "gone" {
			n.ok(os.RemoveAll(filepath.Join(n.dir, "data/apps", a.SHA256)))
		}
	}
	n.ok(os.Remove(filepath.Join(n.dir, "repo/gone")))
	for _, app := range []string{"never-there", "faulty", "gone"} {
		d := n.document()
		d.site("live.test")["app"] = map[string]any{"name": app}
		n.ok(n.setState(d.text(t)))
		n.settled()
		n.want("live.test", "/", "good")
		if h := n.health("live.test"); !strings.HasPrefix(h, "503 healthy=false app="+app+" serving=good ") {
			t.Errorf("health with the bundle %s: %s", app, h)
		}
	}
	n.stop()
	n = start(t, n.dir)
	n.eventually(func() error { return n.serves("live.test", "good") })
	n.settled()
	n.want("live.test", "/", "good")
	if h := n.health("live.test"); !strings.HasPrefix(h, "503 healthy=false app=gone serving=good ") {
		t.Errorf("health after the restart: %s", h)
	}
	// A look at everything does not tidy away what is served in place of what is asked for.
	n.ok(n.client.Sync(n.ctx()))
	n.settled()
	n.want("live.test", "/", "good")
	n.deploy("live.test", "good")
	if h := n.health("live.test"); !strings.HasPrefix(h, "200 healthy=true app=good") {
		t.Errorf("health after going back: %s", h)
	}
}

// Weakness W33: during deploys there were 404s, and W34: old and new files mixed for up to a minute.
func TestW33_DeploysAreSeamless(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("busy.test")
	const versions = 50
	body := func(v int) string { return strings.Repeat(fmt.Sprintf("version %d\n", v), 20+v) }
	for v := range versions {
		n.upload(fmt.Sprintf("v%d", v), map[string]string{"index.html": body(v), "other.txt": body(v)})
	}
	n.deploy("busy.test", "v0")

	var wg sync.WaitGroup
	var requests atomic.Int64
	stop := make(chan struct{})
	for _, client := range []struct {
		name string
		path string
	}{{"first", "/"}, {"second", "/other.txt"}, {"third", "/"}, {"fourth", "/other.txt"}} {
		wg.Go(func() {
			last := 0
			pace := time.NewTicker(8 * time.Millisecond) // 125 requests a second each, 500 in all
			defer pace.Stop()
			for {
				select {
				case <-stop:
					return
				case <-pace.C:
				}
				p, err := fetch(n.h2, "busy.test", client.path)
				if err != nil {
					t.Errorf("%s: %v", client.name, err)
					return
				}
				line, _, _ := strings.Cut(p.body, "\n")
				v, err := strconv.Atoi(strings.TrimPrefix(line, "version "))
				switch {
				case p.status != 200 || err != nil || p.body != body(v):
					t.Errorf("%s: %d %.60q", client.name, p.status, p.body)
					return
				case v < last:
					t.Errorf("%s: version %d after version %d", client.name, v, last)
					return
				}
				last = v
				requests.Add(1)
			}
		})
	}
	began := time.Now()
	for v := 1; v < versions; v++ {
		n.deploy("busy.test", fmt.Sprintf("v%d", v))
		n.want("busy.test", "/other.txt", body(v))
		if v%10 == 0 { // a new certificate in the same pass is no reason to wait
			n.addSite(fmt.Sprintf("s%d.test", v))
		}
		for requests.Load() < int64(v)*20 && !t.Failed() {
			time.Sleep(time.Millisecond) // so that each version is asked for
		}
	}
	t.Logf("%d requests, %.0f a second", requests.Load(), float64(requests.Load())/time.Since(began).Seconds())
	close(stop)
	wg.Wait()
}

// Weakness W34: a page that was asked for often stayed old for up to a minute.
func TestW34_HotPageIsNewRightAfterTheDeploy(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("hot.test")
	for v := range 2 {
		n.upload(fmt.Sprintf("v%d", v), map[string]string{"index.html": fmt.Sprintf("version %d", v)})
	}
	n.deploy("hot.test", "v0")
	for range 100 {
		n.want("hot.test", "/", "version 0")
	}
	tag := n.get("hot.test", "/").header.Get("ETag")
	n.deploy("hot.test", "v1")
	for _, c := range []func() (*page, error){
		func() (*page, error) { return fetch(n.h2, "hot.test", "/") },
		func() (*page, error) { return fetch(n.h1, "hot.test", "/") },
		func() (*page, error) { return fetch(n.h2, "hot.test", "/", "If-None-Match: "+tag) },
	} {
		if p, err := c(); err != nil || p.status != 200 || p.body != "version 1" {
			t.Errorf("%+v, %v", p, err)
		}
	}
}

// Weakness W40: running stayed true after a fault, and sites that had failed were shown as healthy.
func TestW40_StatusIsTrueOnceNothingRuns(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.upload("app", map[string]string{"index.html": "app"})
	// Without ?wait=, as clients of the contract do.
	_, err := n.client.CreateSite(n.ctx(), api.SiteCreate{Domain: "a.test"})
	n.ok(err)
	if s := n.settled(); len(s.Health) != 1 || !s.Health[0].Healthy || s.Health[0].App != nil {
		t.Errorf("after adding: %+v", s)
	}
	if p := n.get("a.test", "/"); p.status != 200 {
		t.Errorf("running is false, and the site answers %d", p.status)
	}
	n.ok(n.client.Deploy(n.ctx(), "a.test", "app"))
	if s := n.settled(); len(s.Health) != 1 || !s.Health[0].Healthy || *s.Health[0].App != "app" {
		t.Errorf("after deploying: %+v", s)
	}
	n.want("a.test", "/", "app")
	d := n.document()
	d.site("a.test")["app"] = map[string]any{"name": "missing"}
	d["sites"] = append(d["sites"].([]any), map[string]any{"domain": "b.test", "app": map[string]any{"name": "missing"}})
	n.ok(n.setState(d.text(t)))
	s := n.settled()
	if len(s.Health) != 2 || s.Health[0].Healthy || s.Health[1].Healthy || s.Health[0].Error == "" || s.Health[1].Error == "" {
		t.Errorf("after restoring what cannot be served: %+v", s)
	}
	n.ok(n.client.DeleteSite(n.ctx(), "b.test"))
	if s := n.settled(); len(s.Health) != 1 {
		t.Errorf("after removing: %+v", s)
	}
}

// Weakness W41: the status of a broken site was 200.
func TestW41_BrokenSiteIs503(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("good.test")
	n.ok(n.setState(`{"sites":[{"domain":"good.test"},{"domain":"bad.test","aliases":["alias.test"],"app":{"name":"missing"}}]}`))
	n.settled()
	for domain, want := range map[string]int{"good.test": 200, "bad.test": 503, "alias.test": 503, "none.test": 404} {
		var a api.Answer
		_, _ = n.client.Status(n.ctx(), domain, false, api.Observe(&a))
		if a.Status != want {
			t.Errorf("/status/%s is %d, want %d", domain, a.Status, want)
		}
	}
	var a api.Answer
	if _, err := n.client.Status(n.ctx(), "", false, api.Observe(&a)); err != nil || a.Status != 503 {
		// The one counted site is broken: the placeholder of the other proves little.
		t.Errorf("/status is %d, %v", a.Status, err)
	}
}

// Weakness W43: the API and the default site were on IPv4 only.
func TestW43_IPv6(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	}
	l.Close()
	n := start(t, t.TempDir(), "bindAddress: 127.0.0.1=>bindAddress: \"::1\"",
		"httpAddress: 127.0.0.1:0=>httpAddress: \"[::1]:0\"", "httpsAddress: 127.0.0.1:0=>httpsAddress: \"[::1]:0\"")
	if !strings.HasPrefix(n.URL(), "https://[::1]:") {
		t.Errorf("the API is at %s", n.URL())
	}
	n.addSite("six.test")
	if p := n.get("six.test", "/"); p.status != 200 {
		t.Errorf("the site: %d", p.status)
	}
	if p := n.get("unknown.test", "/"); p.status == 200 {
		t.Error("an unknown host gets a site")
	}
	// Without an address, both families answer.
	both := start(t, t.TempDir(), "bindAddress: 127.0.0.1=>bindAddress: \"\"")
	_, port, err := net.SplitHostPort(both.apiListener.Addr().String())
	both.ok(err)
	for _, host := range []string{"127.0.0.1", "::1"} {
		c, err := api.New(api.Options{BaseURL: "https://" + net.JoinHostPort(host, port), Token: testPSK, Pin: both.Pin()})
		both.ok(err)
		if _, err := c.Info(both.ctx()); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		c.Close()
	}
}

// Weakness W44: browsers refused modules, as their types were missing.
func TestW44_TypesOfNewFormats(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("a.test")
	want := map[string]string{
		"x.mjs": "text/javascript", "x.js": "text/javascript", "x.wasm": "application/wasm", "x.woff2": "font/woff2",
		"x.webmanifest": "application/manifest+json", "x.avif": "image/avif", "x.svg": "image/svg+xml", "x.map": "application/json",
	}
	files := map[string]string{"index.html": "x"}
	for name := range want {
		files[name] = "x"
	}
	n.upload("types", files)
	n.deploy("a.test", "types")
	for name, typ := range want {
		if got, _, _ := strings.Cut(n.get("a.test", "/"+name).header.Get("Content-Type"), ";"); got != typ {
			t.Errorf("%s is %q, want %q", name, got, typ)
		}
	}
}

// Weakness W58: each certificate took four seconds, one after the other: 100 sites eight minutes.
func TestW58_HundredSitesWithCertificatesOfTheirOwn(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	const sites = 100
	var doc strings.Builder
	doc.WriteString(`{"sites":[`)
	for i := range sites {
		if i > 0 {
			doc.WriteByte(',')
		}
		fmt.Fprintf(&doc, `{"domain":"s%d.test"}`, i)
	}
	doc.WriteString("]}")
	began := time.Now()
	n.ok(n.setState(doc.String()))
	serials := map[string]bool{}
	for i := range sites {
		host := fmt.Sprintf("s%d.test", i)
		n.eventually(func() error {
			c, err := tls.Dial("tcp", n.WebAddrs()[1].String(), &tls.Config{InsecureSkipVerify: true, ServerName: host})
			if err != nil {
				return err
			}
			defer c.Close()
			leaf := c.ConnectionState().PeerCertificates[0]
			serials[leaf.SerialNumber.String()] = true
			return leaf.VerifyHostname(host)
		})
	}
	took := time.Since(began)
	t.Logf("%d sites with certificates were served after %v", sites, took)
	if took > 15*time.Second {
		t.Errorf("that took %v", took)
	}
	if len(serials) < sites { // the node's own may be among them
		t.Errorf("W55: %d serial numbers for %d certificates", len(serials), sites)
	}
}

// Weakness W67: whatever an archive held was served, the history of its source too.
func TestW67_DotFilesAreNotServed(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("a.test")
	n.upload("dots", map[string]string{
		"index.html": "x", ".git/config": "[core]", ".env": "SECRET", "a/.htpasswd": "x", ".well-known/security.txt": "Contact: x",
	})
	n.deploy("a.test", "dots")
	for _, path := range []string{"/.git/config", "/.env", "/a/.htpasswd", "/%2egit/config", "/a/../.env", "/.git/"} {
		if p := n.get("a.test", path); p.status == 200 {
			t.Errorf("%s is served: %q", path, p.body)
		}
	}
	n.want("a.test", "/.well-known/security.txt", "Contact: x")
}

// Weakness W68: rules applied in alphabetical order, and HSTS could not be set.
func TestW68_RulesAsWritten(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("a.test")
	n.upload("rules", map[string]string{"index.html": "x", "a.png": "x", "_statiko.yaml": `
rules:
  - match: "z|\\.png$"
    options: {headers: {X-Rule: first}}
  - file: _images
    options: {headers: {X-Rule: second}}
  - prefix: /
    options: {headers: {X-Rule: all, Strict-Transport-Security: "max-age=31536000"}}
`})
	n.deploy("a.test", "rules")
	for path, want := range map[string]string{"/a.png": "first", "/": "all"} {
		if got := n.get("a.test", path).header.Get("X-Rule"); got != want {
			t.Errorf("%s has the rule %q, want %q", path, got, want)
		}
	}
	if got := n.get("a.test", "/").header.Get("Strict-Transport-Security"); got != "max-age=31536000" {
		t.Errorf("HSTS is %q", got)
	}
}
