package node

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"statiko/api"
	"statiko/config"
	"statiko/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testPSK = "pre-shared-key-of-the-tests"
	testKey = "AAECAwQFBgcICQoLDA0ODw=="
)

// patience is how long tests wait for what takes milliseconds on an idle machine.
const patience = time.Minute

// configText is a node's configuration with everything below one folder, which stands as DIR.
const configText = `nodeName: node.test
port: 0
bindAddress: 127.0.0.1
appRoot: DIR/data
auth:
  psk:
    enabled: true
    key: ` + testPSK + `
secretsEncryptionKey: ` + testKey + `
state:
  store: file
  file:
    path: DIR/state.json
repo:
  type: local
  local:
    path: DIR/repo
webserver: builtin
web:
  httpAddress: 127.0.0.1:0
  httpsAddress: 127.0.0.1:0
tls:
  dhparams:
    generate: never
  node:
    enabled: true
    certificate: DIR/node.crt
    key: DIR/node.key
bundle:
  maxUploadSize: 64MiB
`

// testConfig parses the configuration of a node in the folder. Each change is "old text=>new text".
func testConfig(t testing.TB, dir string, changes ...string) *config.Config {
	t.Helper()
	text := configText
	for _, c := range changes {
		from, to, ok := strings.Cut(c, "=>")
		if !ok || strings.Count(text, from) != 1 {
			t.Fatalf("the configuration does not have %q once", from)
		}
		text = strings.Replace(text, from, to, 1)
	}
	c, _, err := config.Parse("test.yaml", []byte(strings.ReplaceAll(text, "DIR", dir)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// running is a node that runs, with what talks to it.
type running struct {
	*Node
	t      testing.TB
	dir    string
	client *api.Client
	// h1 and h2 reach every host at the node's HTTPS port, over HTTP/1.1 and HTTP/2.
	h1, h2 *http.Client
	logs   *observer.ObservedLogs
	stop   func()
}

// start runs a node in the folder until the test ends.
func start(t testing.TB, dir string, changes ...string) *running {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	n, err := New(testConfig(t, dir, changes...), Options{Version: "test", Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	n.library.KeepUnused = -1
	return launch(t, n, dir, logs)
}

// launch runs a node that was made.
func launch(t testing.TB, n *Node, dir string, logs *observer.ObservedLogs) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	r := &running{Node: n, t: t, dir: dir, logs: logs}
	stopped := false
	r.stop = func() {
		t.Helper()
		if stopped {
			return
		}
		stopped = true
		r.h1.CloseIdleConnections()
		r.h2.CloseIdleConnections()
		r.client.Close()
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(patience):
			t.Error("the node does not stop")
		}
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	r.h1, r.h2 = r.web(false), r.web(true)
	t.Cleanup(r.stop)
	var err error
	if r.client, err = api.New(api.Options{BaseURL: n.URL(), Token: testPSK, Pin: n.Pin(), Timeout: patience}); err != nil {
		t.Fatal(err)
	}
	return r
}

// web returns a client that reaches every host at the node's HTTPS port.
func (r *running) web(http2 bool) *http.Client {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			addrs := r.WebAddrs()
			if len(addrs) == 0 {
				return nil, fmt.Errorf("the node has no web server")
			}
			return new(net.Dialer).DialContext(ctx, network, addrs[1].String())
		},
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // self-signed here; compared where it matters
		ForceAttemptHTTP2:   http2,
		DisableCompression:  true,
		MaxIdleConnsPerHost: 4,
	}
	if !http2 {
		tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	return &http.Client{Transport: tr, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// page is an answer of a site.
type page struct {
	status int
	header http.Header
	body   string
	proto  int
	tls    *tls.ConnectionState
}

// fetch asks for a path of a host.
func fetch(c *http.Client, host, path string, headers ...string) (*page, error) {
	req, err := http.NewRequest(http.MethodGet, "https://"+host+path, nil)
	if err != nil {
		return nil, err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return &page{res.StatusCode, res.Header, string(body), res.ProtoMajor, res.TLS}, err
}

// get asks for a path of a host over HTTP/2; the answer's certificate must cover the host unless it is a 421.
func (r *running) get(host, path string, headers ...string) *page {
	r.t.Helper()
	p, err := fetch(r.h2, host, path, headers...)
	if err != nil {
		r.t.Fatalf("GET https://%s%s: %v", host, path, err)
	}
	return p
}

// want fails unless the host answers the path with 200 and the body, under a certificate of its own.
func (r *running) want(host, path, body string) {
	r.t.Helper()
	p := r.get(host, path)
	if p.status != 200 || p.body != body {
		r.t.Errorf("GET https://%s%s: %d %.100q, want 200 %.100q", host, path, p.status, p.body, body)
	}
	if err := p.tls.PeerCertificates[0].VerifyHostname(host); err != nil {
		r.t.Errorf("GET https://%s%s: %v", host, path, err)
	}
}

// eventually waits until check returns nil, and fails with its last reason.
func (r *running) eventually(check func() error) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("in vain waited for: %v", err)
		}
		time.Sleep(5 * time.Millisecond) // between looks, not for something to have happened
	}
}

func (r *running) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// ctx is bounded, and ends with the test.
func (r *running) ctx() context.Context {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	r.t.Cleanup(cancel)
	return ctx
}

// addSite adds a self-signed site and waits until it is served.
func (r *running) addSite(domain string, aliases ...string) {
	r.t.Helper()
	var a api.Answer
	_, err := r.client.CreateSite(r.ctx(), api.SiteCreate{Domain: domain, Aliases: aliases}, api.Wait(patience), api.Observe(&a))
	r.ok(err)
	if a.Applied == nil || !*a.Applied {
		r.t.Fatalf("%s was added, but is not served: %s", domain, r.health(domain))
	}
}

// upload stores files as a zip bundle.
func (r *running) upload(name string, files map[string]string) {
	r.t.Helper()
	r.ok(r.client.UploadApp(r.ctx(), name, "zip", bytes.NewReader(zipOf(r.t, files)), nil))
}

// deploy makes the site serve the bundle, and waits until it does.
func (r *running) deploy(domain, app string) {
	r.t.Helper()
	var a api.Answer
	r.ok(r.client.Deploy(r.ctx(), domain, app, api.Wait(patience), api.Observe(&a)))
	if a.Applied == nil || !*a.Applied {
		r.t.Fatalf("%s was deployed on %s, but is not served: %s", app, domain, r.health(domain))
	}
}

// health words what the node says of a site.
func (r *running) health(domain string) string {
	r.t.Helper()
	var a api.Answer
	s, err := r.client.Status(r.ctx(), domain, false, api.Observe(&a))
	if err != nil || len(s.Health) != 1 {
		return fmt.Sprintf("%v, %+v", err, s)
	}
	h := s.Health[0]
	text := fmt.Sprintf("%d healthy=%t", a.Status, h.Healthy)
	if h.App != nil {
		text += " app=" + *h.App
	}
	if h.Serving != "" {
		text += " serving=" + h.Serving
	}
	return text + " " + h.Error
}

// settled waits as clients of the contract do: half a second after the change, then until running is false.
func (r *running) settled() *api.Status {
	r.t.Helper()
	time.Sleep(500 * time.Millisecond) // what is tested is that the status is true after this very time
	var s *api.Status
	r.eventually(func() (err error) {
		if s, err = r.client.Status(r.ctx(), "", false); err == nil && s.Sync.Running {
			err = fmt.Errorf("sync.running is still true")
		}
		return err
	})
	return s
}

// state returns the state document.
func (r *running) state() []byte {
	r.t.Helper()
	var b bytes.Buffer
	r.ok(r.client.State(r.ctx(), &b))
	return b.Bytes()
}

// setState restores a document.
func (r *running) setState(doc string, options ...api.CallOption) error {
	return r.client.SetState(r.ctx(), strings.NewReader(doc), int64(len(doc)), options...)
}

func zipOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := w.Create(name)
		if err == nil {
			_, err = io.WriteString(f, files[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarGzOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[name]))})
		if err == nil {
			_, err = io.WriteString(w, files[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func keyring(t testing.TB) *secret.Keyring {
	t.Helper()
	k, err := secret.NewKeyring(testKey)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
