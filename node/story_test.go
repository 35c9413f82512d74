package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"statiko/api"
	"statiko/certs"
	"statiko/state"
)

func TestNode_Story(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	ctx := n.ctx()

	n.addSite("shop.test", "www.shop.test")
	if p := n.get("shop.test", "/"); p.status != 200 || p.proto != 2 || !strings.Contains(p.body, "Statiko") {
		t.Errorf("without a bundle: HTTP/%d %d %.80q", p.proto, p.status, p.body)
	}
	n.upload("shop-1", map[string]string{"index.html": "one", "css/site.css": "a{}"})
	n.ok(n.client.UploadApp(ctx, "shop-2", "tar.gz", bytes.NewReader(tarGzOf(t, map[string]string{"index.html": "two, longer"})), nil))

	n.deploy("shop.test", "shop-1")
	n.want("shop.test", "/", "one")
	n.want("shop.test", "/css/site.css", "a{}")
	first := n.get("shop.test", "/").header.Get("ETag")
	if p, err := fetch(n.h1, "shop.test", "/"); err != nil || p.proto != 1 || p.body != "one" || p.header.Get("ETag") != first {
		t.Errorf("over HTTP/1.1: %+v, %v", p, err)
	}
	if p := n.get("www.shop.test", "/css/site.css?a=b"); p.status != 301 || !strings.HasPrefix(p.header.Get("Location"), "https://shop.test") ||
		!strings.HasSuffix(p.header.Get("Location"), "/css/site.css?a=b") {
		t.Errorf("the alias: %d to %q", p.status, p.header.Get("Location"))
	}

	n.deploy("shop.test", "shop-2")
	n.want("shop.test", "/", "two, longer")
	if p := n.get("shop.test", "/css/site.css"); p.status != 404 {
		t.Errorf("a file that only the first version has: %d", p.status)
	}
	n.deploy("shop.test", "shop-1")
	n.want("shop.test", "/", "one")
	if again := n.get("shop.test", "/"); again.header.Get("ETag") != first {
		t.Errorf("the first version's tag was %s, is %s after going back", first, again.header.Get("ETag"))
	}
	if p := n.get("shop.test", "/", "If-None-Match: "+first); p.status != 304 {
		t.Errorf("asked whether %s is still right: %d", first, p.status)
	}

	if err := n.client.DeleteApp(ctx, "shop-1"); !errors.Is(err, state.ErrInUse) {
		t.Errorf("removing the served bundle: %v", err)
	}
	n.ok(n.client.DeleteSite(ctx, "www.shop.test", api.Wait(patience)))
	if p := n.get("shop.test", "/"); p.status == 200 {
		t.Errorf("a removed site answers %d %q", p.status, p.body)
	}
	n.ok(n.client.DeleteApp(ctx, "shop-1"))
	n.ok(n.client.DeleteApp(ctx, "shop-2", api.Wait(patience)))
	n.ok(n.client.Sync(ctx, api.Wait(patience)))
	for _, dir := range []string{"data/apps", "data/uploads", "data/served"} {
		if left, err := os.ReadDir(filepath.Join(n.dir, dir)); err != nil || len(left) > 0 {
			t.Errorf("%s after all was removed: %v, %v", dir, left, err)
		}
	}
}

func TestNode_TwoInOneProcess(t *testing.T) {
	t.Parallel()
	a, b := start(t, t.TempDir()), start(t, t.TempDir(), "node.test=>other.test")
	for _, n := range []*running{a, b} {
		n.addSite("same.test")
		n.upload("app", map[string]string{"index.html": n.dir})
		n.deploy("same.test", "app")
	}
	a.want("same.test", "/", a.dir)
	b.want("same.test", "/", b.dir)
	if a.Pin() == b.Pin() {
		t.Error("both nodes have the same key")
	}
	a.stop()
	b.want("same.test", "/", b.dir)
	if info, err := b.client.Info(b.ctx()); err != nil || info.Hostname != "other.test" {
		t.Errorf("%+v, %v", info, err)
	}
}

// A second node on the same files must not start: two would overwrite each other's state.
func TestNode_SecondOnTheSameStateIsRefused(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	if _, err := New(testConfig(t, n.dir), Options{}); err == nil || !strings.Contains(err.Error(), "state") {
		t.Errorf("got %v", err)
	}
	n.addSite("still.test")
}

func TestNode_BusyPortNamesItsKey(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	dir := t.TempDir()
	_, err := New(testConfig(t, dir, "httpsAddress: 127.0.0.1:0=>httpsAddress: "+n.WebAddrs()[1].String()), Options{})
	if err == nil || !strings.Contains(err.Error(), "web.httpsAddress") || !strings.Contains(err.Error(), "another program") {
		t.Errorf("got %v", err)
	}
	start(t, dir) // nothing of the failed one is in the way
}

func TestNode_RestartKeepsEverything(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("kept.test", "alias.kept.test")
	n.upload("v1", map[string]string{"index.html": "kept"})
	n.deploy("kept.test", "v1")
	before := n.get("kept.test", "/")
	pin, document := n.Pin(), n.state()
	n.stop()

	n = start(t, n.dir)
	if n.Pin() != pin {
		t.Errorf("the pin was %s, is %s", pin, n.Pin())
	}
	if now := n.state(); !bytes.Equal(now, document) {
		t.Errorf("the state was\n%s\nis\n%s", document, now)
	}
	n.eventually(func() error { return n.serves("kept.test", "kept") })
	after := n.get("kept.test", "/")
	if a, b := before.header.Get("ETag"), after.header.Get("ETag"); a != b || a == "" {
		t.Errorf("the ETag was %s, is %s", a, b)
	}
	if !before.tls.PeerCertificates[0].Equal(after.tls.PeerCertificates[0]) {
		t.Error("the site's certificate is another one")
	}
	if n.logs.FilterLevelExact(zap.WarnLevel).Len()+n.logs.FilterLevelExact(zap.ErrorLevel).Len() > 0 {
		t.Errorf("the log complains of an orderly restart: %v", n.logs.All())
	}
}

// serves says what differs from a site's being served with a body.
func (r *running) serves(host, body string) error {
	p, err := fetch(r.h2, host, "/")
	if err == nil && (p.status != 200 || p.body != body) {
		err = fmt.Errorf("https://%s/ is %d %.60q, want %.60q", host, p.status, p.body, body)
	}
	if err == nil {
		err = p.tls.PeerCertificates[0].VerifyHostname(host) // the connection may be older than the site
	}
	if err != nil {
		r.h2.CloseIdleConnections() // the next look shows the certificate of that time
	}
	return err
}

func TestNode_WithoutWebServer(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), "webserver: builtin=>webserver: none")
	if len(n.WebAddrs()) != 0 {
		t.Errorf("it listens on %v", n.WebAddrs())
	}
	n.addSite("a.test")
	s, err := n.client.Status(n.ctx(), "", false)
	if err != nil || !s.Nginx.Running || len(s.Health) != 1 || !s.Health[0].Healthy {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestNode_WithoutTLS(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), "enabled: true\n    certificate=>enabled: false\n    certificate")
	if !strings.HasPrefix(n.URL(), "http://") || n.Pin() != "" {
		t.Errorf("URL %s, pin %q", n.URL(), n.Pin())
	}
	n.addSite("a.test")
	if p := n.get("a.test", "/"); p.status != 200 {
		t.Errorf("sites are served over HTTPS all the same: %d", p.status)
	}
	if p := n.get("unknown.test", "/status"); p.status != 200 {
		t.Errorf("the default HTTPS server is there: %d", p.status)
	}
}

func TestNode_ConfiguredCertificateIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string) (cert []byte) {
		t.Helper()
		cert, key, err := certs.SelfSigned(certs.Request{Names: []string{name}})
		if err != nil {
			t.Fatal(err)
		}
		// In two steps, as tools do: in between, the pair does not match.
		writeFile(t, filepath.Join(dir, "node.crt"), string(cert))
		writeFile(t, filepath.Join(dir, "node.key"), string(key))
		return cert
	}
	presented := func(n *Node) ([]byte, error) {
		c, err := tls.Dial("tcp", strings.TrimPrefix(n.URL(), "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return nil, err
		}
		defer c.Close()
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.ConnectionState().PeerCertificates[0].Raw}), nil
	}
	first := write("first.test")
	n, err := New(testConfig(t, dir), Options{})
	if err != nil {
		t.Fatal(err)
	}
	n.certificate.every = 5 * time.Millisecond
	r := launch(t, n, dir, nil)
	if got, err := presented(n); err != nil || !bytes.Equal(got, first) {
		t.Fatalf("presents %s, %v", got, err)
	}
	if _, err := r.client.Info(r.ctx()); err != nil {
		t.Error(err)
	}
	second := write("second.test")
	r.eventually(func() error {
		got, err := presented(n)
		if err == nil && !bytes.Equal(got, second) {
			err = errors.New("the first certificate is still presented")
		}
		return err
	})
	writeFile(t, filepath.Join(dir, "node.crt"), "not a certificate")
	if _, err := New(testConfig(t, dir, "DIR/state.json=>DIR/other.json"), Options{}); err == nil || !strings.Contains(err.Error(), "tls.node.certificate") {
		t.Errorf("a start with a broken pair: %v", err)
	}
	if got, err := presented(n); err != nil || !bytes.Equal(got, second) {
		t.Errorf("after the file broke: %s, %v", got, err)
	}
}

// The clients in flight get their answers when the node stops, and it stops soon.
func TestNode_StopLetsUploadsEnd(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	reading, release := make(chan struct{}), make(chan struct{})
	archive := zipOf(t, map[string]string{"index.html": "late"})
	done := make(chan error, 1)
	client := n.client
	go func() {
		done <- client.UploadApp(context.Background(), "late", "zip", &gatedReader{data: archive, reading: reading, release: release}, nil)
	}()
	<-reading
	stopped := make(chan struct{})
	go func() { defer close(stopped); n.stop() }()
	n.eventually(func() error {
		c, err := tls.Dial("tcp", n.apiListener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return nil
		}
		c.Close()
		return errors.New("the API still accepts")
	})
	close(release)
	if err := <-done; err != nil {
		t.Errorf("the upload in flight: %v", err)
	}
	<-stopped
	client.Close()
	if _, err := os.Stat(filepath.Join(n.dir, "repo/late")); err != nil {
		t.Errorf("the acknowledged upload: %v", err)
	}
}

// gatedReader gives half of the data, says so, and the rest when it is released.
type gatedReader struct {
	data             []byte
	at               int
	reading, release chan struct{}
}

func (g *gatedReader) Read(b []byte) (int, error) {
	if half := len(g.data) / 2; g.at < half {
		n := copy(b, g.data[g.at:half])
		if g.at += n; g.at == half {
			close(g.reading)
		}
		return n, nil
	}
	<-g.release
	n := copy(b, g.data[g.at:])
	g.at += n
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func TestNode_ErrorPagesAreNeverThoseOfAnotherSite(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.addSite("a.test")
	p := n.get("unknown.test", "/")
	if p.status == http.StatusOK {
		t.Errorf("an unknown host answers %d %.80q", p.status, p.body)
	}
}
