package server

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"statiko/api"
	"statiko/bundle"
	"statiko/certs"
	"statiko/filestore"
	"statiko/reconcile"
	"statiko/secret"
	"statiko/webserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testPSK = "correct horse battery staple"
	keyA    = "AAECAwQFBgcICQoLDA0ODw=="
	keyB    = "Dw4NDAsKCQgHBgUEAwIBAA=="
)

// node is a server over real HTTP, with a real store, keyring and library; only the reconciler is played.
type node struct {
	t          testing.TB
	url        string
	publicURL  string
	server     *Server
	store      *filestore.Store
	keyring    *secret.Keyring
	reconciler *played
	web        webserver.Status
	client     *http.Client
	// path is the state file.
	path string
	// keys are the encryption keys, the current one first.
	keys []string
}

// start starts a node; change may change the options.
func start(t testing.TB, change func(*Options)) *node {
	t.Helper()
	return startWith(t, change, keyA)
}

// startWith starts a node that has these encryption keys.
func startWith(t testing.TB, change func(*Options), keys ...string) *node {
	t.Helper()
	dir := t.TempDir()
	n := &node{t: t, path: filepath.Join(dir, "state.json"), web: webserver.Status{Running: true}, keys: keys}
	n.open(dir, change)
	return n
}

func (n *node) open(dir string, change func(*Options)) {
	n.t.Helper()
	t := n.t
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	n.keyring, err = secret.NewKeyring(n.keys[0], n.keys[1:]...)
	must(err)
	n.store, err = filestore.Open(filestore.Options{Path: n.path, KeyID: n.keyring.ID(), KnownKeyIDs: n.keyring.IDs()})
	must(err)
	t.Cleanup(func() { _ = n.store.Close() })
	repository, err := bundle.OpenLocal(filepath.Join(dir, "repo"), nil)
	must(err)
	stager, err := bundle.NewStager(bundle.StagerOptions{Dir: filepath.Join(dir, "apps")})
	must(err)
	library := bundle.NewLibrary(bundle.LibraryOptions{
		Store: n.store, Repository: repository, Stager: stager, SpoolDir: filepath.Join(dir, "repo"),
		MaxUpload: 1 << 20, ManifestFile: "_statiko.yaml",
	})
	n.reconciler = &played{store: n.store, sites: map[string]reconcile.SiteStatus{}, follow: true}
	o := Options{
		Store: n.store, Keyring: n.keyring, Reconciler: n.reconciler, Library: library,
		WebServer: func() webserver.Status { return n.web },
		NodeName:  "edge-1", Version: "v1 (test)", PSK: testPSK, TemporaryDomain: "preview.example.org",
		MaxUpload: 1 << 20, MaxStateSize: 1 << 20,
		Leader: func() (string, bool) { return "edge-1", true },
	}
	if change != nil {
		change(&o)
	}
	n.server, err = New(o)
	must(err)
	n.url = serve(t, n.server.Handler())
	n.publicURL = serve(t, n.server.PublicHandler())
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	n.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func serve(t testing.TB, h http.Handler) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// answer is what came back.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
	asked  string
}

// request is what can be said about one.
type request struct {
	method, path string
	body         any // string and []byte and io.Reader as they are, other values as JSON
	contentType  string
	header       map[string]string
	anonymous    bool
	public       bool
}

// do sends a request, authenticated and with JSON unless it says otherwise.
func (n *node) do(q request) *answer {
	n.t.Helper()
	var body io.Reader
	switch b := q.body.(type) {
	case nil:
	case string:
		body = strings.NewReader(b)
	case []byte:
		body = bytes.NewReader(b)
	case io.Reader:
		body = b
	default:
		data, err := json.Marshal(b)
		if err != nil {
			n.t.Fatal(err)
		}
		body = bytes.NewReader(data)
	}
	url := n.url
	if q.public {
		url = n.publicURL
	}
	req, err := http.NewRequest(q.method, url+q.path, body)
	if err != nil {
		n.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	switch q.contentType {
	case "":
	case "-":
		req.Header.Del("Content-Type")
	default:
		req.Header.Set("Content-Type", q.contentType)
	}
	if !q.anonymous {
		req.Header.Set("Authorization", testPSK)
	}
	for k, v := range q.header {
		req.Header.Set(k, v)
		if k == "Host" {
			req.Host = v
		}
	}
	resp, err := n.client.Do(req)
	if err != nil {
		n.t.Fatalf("%s %s: %v", q.method, q.path, err)
	}
	defer resp.Body.Close()
	a := &answer{t: n.t, status: resp.StatusCode, header: resp.Header, asked: q.method + " " + q.path}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		n.t.Fatalf("%s: read answer: %v", a.asked, err)
	}
	return a
}

func (n *node) get(path string) *answer {
	n.t.Helper()
	return n.do(request{method: "GET", path: path})
}

func (n *node) post(path string, body any) *answer {
	n.t.Helper()
	return n.do(request{method: "POST", path: path, body: body})
}

// want fails the test unless the answer has the status.
func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: status %d, want %d\n%s", a.asked, a.status, status, a.body)
	}
	return a
}

// fails fails the test unless the answer is an error of this code, in the one shape of errors, with faults in just
// these fields.
func (a *answer) fails(code string, fields ...string) *api.Error {
	a.t.Helper()
	a.want(api.StatusOf(code))
	if ct := a.header.Get("Content-Type"); ct != "application/json; charset=utf-8" {
		a.t.Errorf("%s: error of type %q", a.asked, ct)
	}
	var e api.Error
	a.into(&e)
	if e.Code != code || e.Message == "" {
		a.t.Errorf("%s: error %q (%q), want %q", a.asked, e.Code, e.Message, code)
	}
	var got []string
	for _, d := range e.Details {
		if d.Message == "" {
			a.t.Errorf("%s: the fault in %q says nothing", a.asked, d.Field)
		}
		got = append(got, d.Field)
	}
	if len(fields) > 0 && fmt.Sprint(got) != fmt.Sprint(fields) {
		a.t.Errorf("%s: faults in %q, want %q\n%s", a.asked, got, fields, a.body)
	}
	return &e
}

func (a *answer) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		a.t.Fatalf("%s: %v in %q", a.asked, err, a.body)
	}
}

// same fails the test unless the body is this JSON.
func (a *answer) same(want string) *answer {
	a.t.Helper()
	if got := strings.TrimSpace(string(a.body)); got != want {
		a.t.Errorf("%s:\ngot  %s\nwant %s", a.asked, got, want)
	}
	return a
}

// site makes a site.
func (n *node) site(domain string, aliases ...string) {
	n.t.Helper()
	n.post("/site", api.SiteCreate{Domain: domain, Aliases: aliases}).want(200)
}

// zipped returns an archive of files.
func zipped(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, text)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// part is one part of a form.
type part struct{ name, value string }

// form returns a multipart body; a part "file" is one.
func form(t testing.TB, parts ...part) (body []byte, contentType string) {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for _, p := range parts {
		var w io.Writer
		var err error
		if p.name == "file" {
			w, err = m.CreateFormFile(p.name, "archive")
		} else {
			w, err = m.CreateFormField(p.name)
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, p.value)
	}
	_ = m.Close()
	return b.Bytes(), m.FormDataContentType()
}

func (n *node) upload(parts ...part) *answer {
	n.t.Helper()
	body, contentType := form(n.t, parts...)
	return n.do(request{method: "POST", path: "/app", body: body, contentType: contentType})
}

// app uploads a bundle that has one page.
func (n *node) app(name string) {
	n.t.Helper()
	archive := zipped(n.t, map[string]string{"index.html": "<h1>" + name + "</h1>"})
	n.upload(part{"name", name}, part{"type", "zip"}, part{"file", string(archive)}).want(204)
}

// pair returns a certificate and its key for the names.
func pair(t testing.TB, r certs.Request) (cert, key string) {
	t.Helper()
	c, k, err := certs.SelfSigned(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(c), string(k)
}

// certificate imports a good certificate.
func (n *node) certificate(name string) {
	n.t.Helper()
	cert, key := pair(n.t, certs.Request{Names: []string{"example.org"}})
	n.post("/certificate", api.CertificateImport{Name: name, Certificate: cert, Key: key}).want(204)
}

// in returns the node for a test inside of the one that started it.
func (n *node) in(t testing.TB) *node {
	other := *n
	other.t = t
	return &other
}
